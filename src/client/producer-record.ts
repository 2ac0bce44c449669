/** An event as the application gives it to a producer. */
import type { WritableHeader } from '../record/batch-writer.ts'

/** An event to send. Its bytes must not change until the promise of `send` settles. */
export interface ProducerRecord {
  readonly topic: string
  /** Text is sent as UTF-8. Default: null. */
  readonly key?: Uint8Array | string | null
  /** Default: null, which removes the key where a topic is compacted. */
  readonly value?: Uint8Array | string | null
  readonly headers?: readonly WritableHeader[]
  /** Milliseconds since the Unix epoch. Default: now. */
  readonly timestamp?: number
  /** Default: what the partitioner says. */
  readonly partition?: number
}
