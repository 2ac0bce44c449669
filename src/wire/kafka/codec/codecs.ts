import type { MessageSchema } from '../schema/definition.ts'
import { inVersions } from '../schema/version-range.ts'
import { compileDecoder, type Decode } from './decoder.ts'
import { compileEncoder, type Encode } from './encoder.ts'

/**
 * The codecs of one message, compiled on first use, by version. One per message and thread.
 */
export class MessageCodecs {
  readonly schema: MessageSchema
  readonly #decoders: (Decode | undefined)[] = []
  readonly #encoders: (Encode | undefined)[] = []

  constructor(schema: MessageSchema) {
    this.schema = schema
  }

  /** Throws a RangeError for a version that the schema does not have. */
  decoder(version: number): Decode {
    const known = this.#decoders[version]
    if (known !== undefined) return known
    this.#check(version)
    const made = compileDecoder(this.schema, version)
    this.#decoders[version] = made
    return made
  }

  encoder(version: number): Encode {
    const known = this.#encoders[version]
    if (known !== undefined) return known
    this.#check(version)
    const made = compileEncoder(this.schema, version)
    this.#encoders[version] = made
    return made
  }

  #check(version: number): void {
    if (!Number.isInteger(version) || !inVersions(this.schema.versions, version)) {
      throw new RangeError(`${this.schema.name} has no version ${version}`)
    }
  }
}
