// What a day is like: up to the usual rate, there for a while, and down. Open loop: arrivals, not loops.
import { seconds, thresholds } from './lib.js';

export { brokered, overGrpc, rest } from './lib.js';

const day = (exec, rate) => ({
  executor: 'ramping-arrival-rate',
  exec,
  startRate: 1,
  preAllocatedVUs: 50,
  maxVUs: 200,
  stages: [
    { target: rate, duration: seconds(30) },
    { target: rate, duration: seconds(120) },
    { target: 1, duration: seconds(20) },
  ],
});

export const options = {
  thresholds: {
    ...thresholds,
    'http_req_duration{name:brokered}': ['p(95)<50', 'p(99)<150'],
    'http_req_duration{name:rest}': ['p(95)<150'],
    grpc_req_duration: ['p(95)<150'],
    dropped_iterations: ['rate<1'],
  },
  scenarios: { brokered: day('brokered', 300), rest: day('rest', 5), grpc: day('overGrpc', 5) },
};
