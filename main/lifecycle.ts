/** Closing what was opened, in reverse order, whatever goes wrong on the way. */
import type { Logger } from 'pino';

/** Empties the list. A part that cannot close is logged and does not keep the others from it. */
export async function closeAll(opened: (() => Promise<void>)[], logger: Logger): Promise<void> {
  for (let close = opened.pop(); close; close = opened.pop()) {
    try {
      await close();
    } catch (error) {
      logger.error({ err: error }, 'a part could not be closed');
    }
  }
}
