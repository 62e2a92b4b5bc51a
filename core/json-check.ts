/** Whether bytes that come in pieces are one JSON value in UTF-8, in constant memory. */
import { JsonScan, skipSpace } from './json-scan.ts';
import { WholeCharacters } from './utf8.ts';

export class JsonCheck {
  readonly #characters = new WholeCharacters();
  readonly #scan = new JsonScan();
  #isBroken = false;

  /** @param piece of any size. @returns false: it cannot be JSON any more. */
  push(piece: Uint8Array): boolean {
    if (!this.#isBroken) this.#read(this.#characters.push(piece));
    return !this.#isBroken;
  }

  #read(bytes: Uint8Array): void {
    const end = this.#scan.isDone ? 0 : this.#scan.scan(bytes, 0);
    const isOver = this.#scan.isDone && skipSpace(bytes, end) < bytes.length;
    this.#isBroken = this.#scan.isBroken || isOver || this.#characters.isBroken;
  }

  /** All of it has come. */
  finish(): boolean {
    return !this.#isBroken && this.#characters.isWhole && this.#scan.isComplete;
  }
}
