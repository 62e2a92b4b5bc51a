/** On JetStream: the program, the server, and both at once are killed in turns. */
import { testTwentyKills } from './twenty-kills.ts';

testTwentyKills('JetStream');
