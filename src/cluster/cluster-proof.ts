/**
 * How two brokers prove to each other that they know the cluster secret, without telling it: each
 * answers the other's nonce with a keyed hash over both nonces and both names. A proof of one
 * direction is none of the other, and an old one is worth nothing.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export const NONCE_BYTES = 32

export interface Handshake {
  readonly callerId: number
  readonly answererId: number
  readonly callerNonce: Uint8Array
  readonly answererNonce: Uint8Array
}

export function newNonce(): Uint8Array {
  return randomBytes(NONCE_BYTES)
}

export function proofOf(secret: string, who: 'caller' | 'answerer', at: Handshake): Uint8Array {
  return createHmac('sha256', secret)
    .update(`millrace ${who} ${at.callerId} ${at.answererId} `)
    .update(at.callerNonce)
    .update(at.answererNonce)
    .digest()
}

export function isProof(proof: Uint8Array, expected: Uint8Array): boolean {
  return proof.length === expected.length && timingSafeEqual(proof, expected)
}
