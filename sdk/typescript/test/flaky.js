// A way to the real control that fails as told, for the tests of tries.

import http from "node:http";

/** Forwards to control, but first does what `faults` says: a status with headers, or "break". */
export async function flaky(url, faults, use) {
  const left = [...faults];
  let asked = 0;
  const server = http.createServer((request, response) => {
    asked += 1;
    const fault = left.shift();
    request.resume();
    if (fault === "break") {
      request.on("end", () => request.socket.destroy());
    } else if (fault) {
      response.writeHead(fault[0], fault[1]).end("<html>a load balancer's own page</html>");
    } else {
      const { authorization, "content-type": type, "content-length": length } = request.headers;
      const headers = { authorization, "content-type": type, "content-length": length };
      const forward = http.request(url + request.url, { method: request.method, headers }, (answer) => {
        response.writeHead(answer.statusCode, { "content-type": answer.headers["content-type"] });
        answer.pipe(response);
      });
      request.pipe(forward);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return { answer: await use(`http://127.0.0.1:${server.address().port}`), asked };
  } catch (error) {
    error.asked = asked;
    throw error;
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
