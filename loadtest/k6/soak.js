// Hours of an ordinary day: what grows with time shows here. Half an hour unless SCALE says otherwise.
import { seconds, thresholds } from './lib.js';

export { brokered, masked, overGrpc, rest } from './lib.js';

const steady = (exec, rate) => ({
  executor: 'constant-arrival-rate',
  exec,
  rate,
  duration: seconds(1800),
  preAllocatedVUs: 20,
  maxVUs: 200,
});

export const options = {
  thresholds: {
    ...thresholds,
    'http_req_duration{name:brokered}': ['p(99)<150'],
    'http_req_duration{name:rest}': ['p(99)<250'],
    dropped_iterations: ['rate<1'],
  },
  scenarios: {
    brokered: steady('brokered', 150),
    masked: steady('masked', 10),
    rest: steady('rest', 2),
    grpc: steady('overGrpc', 2),
  },
};
