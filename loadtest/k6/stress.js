// More than usual, step by step: it may become slow, it may not fail.
import { seconds, thresholds } from './lib.js';

export { brokered, rest } from './lib.js';

const steps = [200, 400, 800, 1200].flatMap((target) => [
  { target, duration: seconds(10) },
  { target, duration: seconds(20) },
]);

export const options = {
  thresholds: { ...thresholds, 'http_req_duration{name:brokered}': ['p(99)<1000'] },
  scenarios: {
    brokered: {
      executor: 'ramping-arrival-rate',
      exec: 'brokered',
      startRate: 100,
      preAllocatedVUs: 100,
      maxVUs: 250, // all have one session, which may have 256 requests open
      stages: steps,
    },
    rest: { executor: 'constant-arrival-rate', exec: 'rest', rate: 5, duration: seconds(120), preAllocatedVUs: 10 },
  },
};
