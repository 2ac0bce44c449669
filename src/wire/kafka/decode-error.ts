/**
 * Bytes that are not the message they claim to be: the peer's mistake, never ours. The gateway
 * closes the connection, as Kafka does. Nothing else is ever thrown for bad bytes.
 */
export class DecodeError extends Error {
  /** Dotted names of the schema's fields, without array indexes. */
  readonly path: string

  constructor(reason: string, path: string) {
    super(`Cannot decode ${path}: ${reason}`)
    this.name = 'DecodeError'
    this.path = path
  }
}
