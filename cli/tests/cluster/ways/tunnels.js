// A client that keeps several tunnels in one HTTP/2 connection to the proxy. `await` stands at the top of what follows.
const fs = require("fs"), http2 = require("http2"), https = require("https"), tls = require("tls");
const { PROXY, PROXY_CA, CA, PORT } = process.env;
const proxy = http2.connect(PROXY, { ca: fs.readFileSync(PROXY_CA) });
proxy.on("error", (error) => console.log("proxy error", error.code));
proxy.on("close", () => console.log("proxy closed"));

const basic = (token) => "Basic " + Buffer.from(`x:${token}`).toString("base64");

// What is answered to a request of the proxy itself: its stream, its headers, and its body unless it is a tunnel.
const ask = (headers) =>
  new Promise((resolve, reject) => {
    const stream = proxy.request(headers);
    stream.on("error", reject);
    stream.on("response", (head) => {
      if (head[":status"] === 200) return resolve({ stream, head });
      let body = "";
      stream.setEncoding("utf8").on("data", (part) => (body += part));
      stream.on("end", () => resolve({ stream, head, body: JSON.parse(body) }));
    });
  });

const connect = (token, host) =>
  ask({ ":method": "CONNECT", ":authority": `${host}:${PORT}`, "proxy-authorization": basic(token) });

// A tunnel with TLS in it.
const tunnel = async (token, host, alpn) => {
  const { stream } = await connect(token, host);
  return new Promise((resolve, reject) => {
    const options = { socket: stream, servername: host, ca: fs.readFileSync(CA), ALPNProtocols: [alpn] };
    const socket = tls.connect(options, () => resolve({ stream, socket }));
    socket.on("error", reject);
  });
};

// A request in a tunnel: its status, its body, and what is sent.
const over1 = ({ socket }, host, path, sent) =>
  new Promise((resolve, reject) => {
    const method = sent ? "POST" : "GET";
    const request = https.request({ createConnection: () => socket, host, port: PORT, path, method });
    request.on("error", reject).on("response", (answer) => {
      const parts = [];
      answer.on("error", reject).on("data", (part) => parts.push(part));
      answer.on("end", () => resolve([answer.statusCode, Buffer.concat(parts)]));
    });
    request.end(sent);
  });

const over2 = ({ socket }, host, path) =>
  new Promise((resolve, reject) => {
    const session = http2.connect(`https://${host}:${PORT}`, { createConnection: () => socket });
    const request = session.on("error", reject).request({ ":path": path });
    const parts = [];
    let status;
    request.on("response", (head) => (status = head[":status"]));
    request.on("error", reject).on("data", (part) => parts.push(part));
    request.on("end", () => (session.close(), resolve([status, Buffer.concat(parts)])));
  });

// A request to a base URL on the same connection: status, headers and body.
const base = (token, path, { sent, ...headers } = {}) =>
  new Promise((resolve, reject) => {
    const method = sent ? "POST" : "GET";
    const stream = proxy.request({ ":method": method, ":path": `/r/main/${path}`, authorization: `Bearer ${token}`, ...headers });
    const parts = [];
    let head;
    stream.on("response", (found) => (head = found));
    stream.on("error", reject).on("data", (part) => parts.push(part));
    stream.on("end", () => resolve({ status: head[":status"], head, body: Buffer.concat(parts).toString() }));
    stream.end(sent);
  });
