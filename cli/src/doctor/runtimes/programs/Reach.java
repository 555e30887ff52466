// One request with HttpClient; prints what arrived. A JVM sends the proxy's password only for programs that set an
// Authenticator, so the request is made without one first.
import java.net.Authenticator;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.net.URLDecoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

public class Reach {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).timeout(Duration.ofSeconds(20)).build();
        var builder = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(20));
        if (told(builder.build(), request)) {
            return;
        }
        var proxy = System.getenv("HTTPS_PROXY");
        var user = proxy == null ? null : URI.create(proxy).getRawUserInfo();
        if (user == null) {
            System.err.println("407 Proxy Authentication Required, and HTTPS_PROXY names no user");
            return;
        }
        var parts = URLDecoder.decode(user.replace("+", "%2B"), StandardCharsets.UTF_8).split(":", 2);
        builder.authenticator(new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(parts[0], (parts.length > 1 ? parts[1] : "").toCharArray());
            }
        });
        System.out.println("authenticator");
        if (!told(builder.build(), request)) {
            System.err.println("407 Proxy Authentication Required");
        }
    }

    /** Whether there is something to tell: an answer, or a failure, but not that the proxy wants credentials. */
    private static boolean told(HttpClient client, HttpRequest request) throws Exception {
        try {
            var answer = client.send(request, HttpResponse.BodyHandlers.discarding());
            if (answer.statusCode() == 407) {
                return false;
            }
            System.out.println("reached " + answer.statusCode() + " " + String.join(",", answer.headers().map().keySet()));
            return true;
        } catch (java.io.IOException error) {
            if (String.valueOf(error.getMessage()).contains("407")) {
                return false;
            }
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                System.err.println(cause);
            }
            return true;
        }
    }
}
