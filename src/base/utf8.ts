/**
 * Text as UTF-8 without `Buffer`, so that browsers run it: straight into bytes that are there, with
 * a loop for ASCII, which most keys and header names are. Lone surrogates become U+FFFD. Pure.
 */
const encoder = new TextEncoder()
/** `ignoreBOM` keeps a byte order mark: decoding must give back what was encoded. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Above this many characters the platform's codec is faster than a loop. */
const LOOP_MAX = 48

/** Bytes that `writeUtf8` writes. */
export function sizeOfUtf8(text: string): number {
  let size = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) size++
    else if (isPair(text, i)) {
      size += 2
      i++
    } else size += 2
  }
  return size
}

/** Three bytes each would be six for a pair, which takes four. */
function isPair(text: string, index: number): boolean {
  if ((text.charCodeAt(index) & 0xfc00) !== 0xd800) return false
  return (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00
}

/** Writes `text` at `position`, where there must be room for it; returns the index after it. */
export function writeUtf8(bytes: Uint8Array, position: number, text: string): number {
  if (text.length > LOOP_MAX) {
    return position + encoder.encodeInto(text, bytes.subarray(position)).written
  }
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) {
      const rest = i === 0 ? text : text.slice(i)
      return position + i + encoder.encodeInto(rest, bytes.subarray(position + i)).written
    }
    bytes[position + i] = unit
  }
  return position + text.length
}

/** Ill-formed UTF-8 becomes U+FFFD. */
export function readUtf8(bytes: Uint8Array): string {
  if (bytes.length <= LOOP_MAX) {
    let text = ''
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] as number
      if (byte >= 0x80) return decode(bytes)
      text += String.fromCharCode(byte)
    }
    return text
  }
  return decode(bytes)
}

/** Browsers decode no shared memory. */
function decode(bytes: Uint8Array): string {
  const shared = !(bytes.buffer instanceof ArrayBuffer)
  return decoder.decode(shared ? new Uint8Array(bytes) : bytes)
}
