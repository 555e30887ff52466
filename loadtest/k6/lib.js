// What all views share: requests through the gateway, and calls of the control API. `scripts/load k6 NAME` runs a view
// within a cluster, and gives it the variables that are read here.
import http from 'k6/http';
import grpc from 'k6/net/grpc';
import { check } from 'k6';

const API = __ENV.SORTIE_API_URL;
const KEY = { authorization: `Bearer ${__ENV.SORTIE_API_KEY}` };
const JSON_KEY = { headers: { ...KEY, 'content-type': 'application/json' } };
const SESSION = { agent: 'agent', vaults: ['main'], ttl_seconds: 600 };
// Every time of a view is so many times as long: SCALE=0.1 is a quick look.
const SCALE = Number(__ENV.SCALE || 1);

const admin = new grpc.Client();
admin.load(['../../proto/wire'], 'sortie/v1/admin.proto');

// What holds in every view, whatever its load.
export const thresholds = {
  checks: ['rate==1'],
  'http_req_failed{name:brokered}': ['rate==0'],
  'http_req_failed{name:rest}': ['rate==0'],
};

export function seconds(count) {
  return `${Math.max(1, Math.round(count * SCALE))}s`;
}

// A request of an agent: k6 takes the gateway and the session from HTTPS_PROXY.
export function brokered() {
  const answer = http.get(`${__ENV.TARGET_URL}/bytes/1024`, { tags: { name: 'brokered' } });
  check(answer, { 'brokered: 200 and whole': (r) => r.status === 200 && r.body.length === 1024 });
}

// The upstream gives back what it was sent: it was injected, and is masked.
export function masked() {
  const answer = http.get(`${__ENV.TARGET_URL}/json`, { tags: { name: 'brokered' } });
  check(answer, {
    'masked: a credential was sent': (r) => r.status === 200 && r.body.includes('Bearer '),
    'masked: it does not come back': (r) => !r.body.includes('load-tenant'),
  });
}

// A session's life over REST.
export function rest() {
  const tags = { tags: { name: 'rest' } };
  const sessions = `${API}/v1/tenants/-/sessions`;
  const minted = http.post(sessions, JSON.stringify(SESSION), { ...JSON_KEY, ...tags });
  check(minted, { 'rest: minted': (r) => r.status === 201 });
  const listed = http.get(`${sessions}?page_size=10`, { ...JSON_KEY, ...tags });
  check(listed, { 'rest: listed': (r) => r.status === 200 });
  const revoked = http.post(`${sessions}/${minted.json('id')}:revoke`, '{}', { ...JSON_KEY, ...tags });
  check(revoked, { 'rest: revoked': (r) => r.status === 200 });
}

let connected = false;

// The same over gRPC.
export function overGrpc() {
  if (!connected) {
    admin.connect(API.replace('http://', ''), { plaintext: true });
    connected = true;
  }
  const call = (method, message) => {
    const answer = admin.invoke(`sortie.v1.Admin/${method}`, message, { metadata: KEY });
    check(answer, { [`grpc: ${method}`]: (r) => r.status === grpc.StatusOK });
    return answer.message;
  };
  const minted = call('MintSession', { tenant: '-', session: SESSION });
  call('ListSessions', { tenant: '-', page: { page_size: 10 } });
  call('RevokeSession', { tenant: '-', session: minted.id });
}
