/** The child's end of the channel: says hello, answers calls, and ends with its parent. */
import type { Answer, Calls, Handlers, Hello, Question } from './protocol.ts';

/** Announces this child and answers calls until the parent goes, however the parent goes. */
export function serveParent<Known extends Calls>(port: number, handlers: Handlers<Known>): void {
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole process group; the parent decides when children end.
  process.on('SIGINT', () => undefined);
  process.on('message', (message) => {
    // The parent of this program sends nothing else.
    void answer(message as Question, handlers);
  });
  tellParent({ port } satisfies Hello);
}

async function answer<Known extends Calls>(
  { number, name, ask }: Question,
  handlers: Handlers<Known>,
): Promise<void> {
  try {
    const handler = handlers[name];
    if (handler === undefined) throw new Error(`no such call: ${name}`);
    tellParent({ number, answer: await handler(ask) } satisfies Answer);
  } catch (error) {
    tellParent({ number, error: String(error) } satisfies Answer);
  }
}

function tellParent(message: Hello | Answer): void {
  process.send?.(message);
}
