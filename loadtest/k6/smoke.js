// Does everything work at all? One of each, for some seconds.
import { seconds, thresholds } from './lib.js';

export { brokered, masked, overGrpc, rest } from './lib.js';

const one = (exec) => ({ executor: 'constant-vus', vus: 1, duration: seconds(10), exec });

export const options = {
  thresholds,
  scenarios: { brokered: one('brokered'), masked: one('masked'), rest: one('rest'), grpc: one('overGrpc') },
};
