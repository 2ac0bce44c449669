import { randomBytes } from 'node:crypto'

/**
 * A 128-bit id in Kafka's text form: 22 characters of unpadded base64url.
 * Topic ids, cluster ids and log directory ids are of this type.
 */
export type Uuid = string

export const ZERO_UUID: Uuid = 'AAAAAAAAAAAAAAAAAAAAAA'

/** A fresh random id that never starts with '-', so that a shell does not take it for a flag. */
export function randomUuid(): Uuid {
  for (;;) {
    const uuid = randomBytes(16).toString('base64url')
    if (!uuid.startsWith('-') && uuid !== ZERO_UUID) return uuid
  }
}

/** 32 lower-case hexadecimal digits: safe in a file name, also where case does not count. */
export function uuidToHex(uuid: Uuid): string {
  return Buffer.from(uuid, 'base64url').toString('hex')
}

export function uuidFromHex(hex: string): Uuid {
  return Buffer.from(hex, 'hex').toString('base64url')
}

export function isUuid(text: string): boolean {
  return /^[A-Za-z0-9_-]{21}[AQgw]$/.test(text)
}
