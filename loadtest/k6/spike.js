// Ten times as much within two seconds, and back: what came before and after is as quick as ever.
import { seconds, thresholds } from './lib.js';

export { brokered } from './lib.js';

const calm = (start) => ({
  executor: 'constant-arrival-rate',
  exec: 'brokered',
  rate: 100,
  duration: seconds(20),
  startTime: start,
  preAllocatedVUs: 20,
  maxVUs: 100,
});

export const options = {
  thresholds: {
    ...thresholds,
    'http_req_duration{scenario:before}': ['p(95)<50'],
    'http_req_duration{scenario:after}': ['p(95)<50'],
    'http_req_duration{scenario:spike}': ['p(99)<1000'],
  },
  scenarios: {
    before: calm('0s'),
    spike: {
      executor: 'ramping-arrival-rate',
      exec: 'brokered',
      startTime: seconds(20),
      startRate: 100,
      preAllocatedVUs: 200,
      maxVUs: 250, // all have one session, which may have 256 requests open
      stages: [
        { target: 1000, duration: seconds(2) },
        { target: 1000, duration: seconds(10) },
        { target: 100, duration: seconds(2) },
      ],
    },
    after: calm(seconds(36)),
  },
};
