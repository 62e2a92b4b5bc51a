/** What TypeScript has to know of build.js, which is plain JavaScript. */

/** Where the program of a server is. It is there before the first test runs. */
declare function serverProgram(name: 'nats-server'): string;

export { serverProgram };
