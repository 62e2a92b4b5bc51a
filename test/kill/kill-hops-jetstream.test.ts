/** Local hops on JetStream. */
import { testHopKills } from './hops.ts';

testHopKills('JetStream');
