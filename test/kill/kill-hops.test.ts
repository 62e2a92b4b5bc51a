/** Local hops on the embedded log. */
import { testHopKills } from './hops.ts';

testHopKills('embedded');
