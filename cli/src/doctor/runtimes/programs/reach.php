<?php
// One request with the curl extension; prints what arrived. PHP's own streams read no variable of a proxy.
if (!extension_loaded('curl')) {
    echo "absent\n";
    exit;
}
$names = [];
$request = curl_init($argv[1]);
curl_setopt_array($request, [
    CURLOPT_TIMEOUT => 20,
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_SUPPRESS_CONNECT_HEADERS => true,
    CURLOPT_HEADERFUNCTION => function ($request, $line) use (&$names) {
        if (strpos($line, ':') !== false) {
            $names[] = trim(explode(':', $line, 2)[0]);
        }
        return strlen($line);
    },
]);
if (curl_exec($request) === false) {
    fwrite(STDERR, curl_error($request) . "\n");
} else {
    echo 'reached ', curl_getinfo($request, CURLINFO_RESPONSE_CODE), ' ', implode(',', $names), "\n";
}
