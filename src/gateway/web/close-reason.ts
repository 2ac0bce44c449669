import { assert } from '../../base/assert.ts'

/** The rules of a close frame that neither engine checks by itself: RFC 6455 §5.5.1 and §7.4. */
const REASON_BYTES_MAX = 123

/** The reason of a close frame, cut to what one may carry, between characters. */
export function closeReason(code: number, reason: string): string {
  assert(isSendable(code), `${code} is no code that an endpoint may send`)
  if (Buffer.byteLength(reason) <= REASON_BYTES_MAX) return reason
  let bytes = 0
  let cut = ''
  for (const character of reason) {
    bytes += Buffer.byteLength(character)
    if (bytes > REASON_BYTES_MAX) break
    cut += character
  }
  return cut
}

/** RFC 6455 §7.4: 1004, 1005, 1006 and 1015 never stand in a frame. */
export function isSendable(code: number): boolean {
  if (code >= 3000) return code <= 4999
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
}
