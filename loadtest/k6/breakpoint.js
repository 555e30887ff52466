// More and more until it no longer holds: the rate that it had then is the answer. It ends by missing its threshold.
import { seconds } from './lib.js';

export { brokered } from './lib.js';

const past = (threshold) => [{ threshold, abortOnFail: true, delayAbortEval: '3s' }];

export const options = {
  thresholds: {
    'http_req_failed{name:brokered}': past('rate<0.01'),
    'http_req_duration{name:brokered}': past('p(95)<250'),
    dropped_iterations: past('count<100'),
  },
  scenarios: {
    brokered: {
      executor: 'ramping-arrival-rate',
      exec: 'brokered',
      startRate: 100,
      // Below what the gateway lets one session have open at once.
      preAllocatedVUs: 200,
      maxVUs: 250,
      stages: [{ target: 20000, duration: seconds(300) }],
    },
  },
};
