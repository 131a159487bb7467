/** A map that forgets what was used least recently (spec/resolver.md 1.13: bounded tables). */

interface Sized<Value> {
  readonly value: Value;
  readonly sizeBytes: number;
}

/** Map entry and boxed value; measured with Node 20, November 2026. */
const ENTRY_OVERHEAD_BYTES = 120;

/** Bounded by entries and by the octets that its values are said to hold. */
export class LruMap<Value> {
  readonly #entriesMax: number;
  readonly #bytesMax: number;
  readonly #map = new Map<string, Sized<Value>>();
  #bytes = 0;

  constructor(entriesMax: number, bytesMax: number) {
    this.#entriesMax = entriesMax;
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#map.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The value, which becomes the newest. */
  get(key: string): Value | undefined {
    const sized = this.#map.get(key);
    if (sized === undefined) return undefined;
    this.#map.delete(key);
    this.#map.set(key, sized);
    return sized.value;
  }

  /** The value; its age does not change. */
  peek(key: string): Value | undefined {
    return this.#map.get(key)?.value;
  }

  set(key: string, value: Value, valueBytes = 0): void {
    this.delete(key);
    const sizeBytes = 2 * key.length + valueBytes + ENTRY_OVERHEAD_BYTES;
    this.#map.set(key, { value, sizeBytes });
    this.#bytes += sizeBytes;
    for (const oldest of this.#map.keys()) {
      if (this.#map.size <= this.#entriesMax && this.#bytes <= this.#bytesMax) break;
      this.delete(oldest);
    }
  }

  delete(key: string): boolean {
    const sized = this.#map.get(key);
    if (sized === undefined) return false;
    this.#bytes -= sized.sizeBytes;
    return this.#map.delete(key);
  }

  clear(): void {
    this.#map.clear();
    this.#bytes = 0;
  }
}
