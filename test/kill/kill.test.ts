/** On the embedded log: the program is killed. */
import { testTwentyKills } from './twenty-kills.ts';

testTwentyKills('embedded');
