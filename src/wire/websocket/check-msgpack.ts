import { viewOf } from '../../base/bytes.ts'

/**
 * Walks over MessagePack without building anything: the decoder behind it believes every count, and
 * five bytes may claim four billion elements. Pure.
 */
const DEPTH_MAX = 16

const TRUNCATED = 'it ends within a value'

/** Null when `bytes` are exactly one value of plain types; else what is wrong with them. */
export function checkMessagePack(bytes: Uint8Array): string | null {
  const view = viewOf(bytes)
  /** Values that are still to come, at each depth. */
  const open: number[] = [1]
  let at = 0
  while (open.length > 0) {
    const depth = open.length - 1
    const left = open[depth] as number
    if (left === 0) {
      open.pop()
      continue
    }
    open[depth] = left - 1
    if (at >= bytes.length) return TRUNCATED
    const type = bytes[at++] as number
    let children = 0
    if (type <= 0x7f || type >= 0xe0) continue
    if (type <= 0x8f) children = 2 * (type & 0x0f)
    else if (type <= 0x9f) children = type & 0x0f
    else if (type <= 0xbf) at += type & 0x1f
    else {
      const kind = KINDS[type - 0xc0] as Kind
      if (kind.refused !== undefined) return kind.refused
      if (at + kind.header > bytes.length) return TRUNCATED
      const count = kind.counts === 0 ? 0 : unsigned(view, at, kind.header)
      at += kind.header
      if (kind.counts === 'bytes') at += count
      else children = kind.counts * count
    }
    if (at > bytes.length) return TRUNCATED
    if (children === 0) continue
    // Each takes a byte at least.
    if (children > bytes.length - at) return TRUNCATED
    if (open.length === DEPTH_MAX) return `it is nested more than ${DEPTH_MAX} deep`
    open.push(children)
  }
  return at === bytes.length ? null : 'there are bytes behind it'
}

interface Kind {
  /** Bytes behind the type: a fixed value, or a count. */
  readonly header: number
  /** What the count counts: bytes, or that many values each; 0: there is no count. */
  readonly counts: 'bytes' | 0 | 1 | 2
  readonly refused?: string
}

const EXTENSION: Kind = { header: 0, counts: 0, refused: 'it has an extension type' }
const UNUSED: Kind = { header: 0, counts: 0, refused: 'it has a byte that means nothing' }

function fixed(header: number): Kind {
  return { header, counts: 0 }
}

function counted(header: number, counts: 'bytes' | 1 | 2): Kind {
  return { header, counts }
}

/** Types 0xc0 to 0xdf. */
const KINDS: readonly Kind[] = [
  fixed(0), // nil
  UNUSED,
  fixed(0), // false
  fixed(0), // true
  counted(1, 'bytes'), // bin 8, 16, 32
  counted(2, 'bytes'),
  counted(4, 'bytes'),
  EXTENSION,
  EXTENSION,
  EXTENSION,
  fixed(4), // float 32, 64
  fixed(8),
  fixed(1), // uint 8 to 64
  fixed(2),
  fixed(4),
  fixed(8),
  fixed(1), // int 8 to 64
  fixed(2),
  fixed(4),
  fixed(8),
  EXTENSION,
  EXTENSION,
  EXTENSION,
  EXTENSION,
  EXTENSION,
  counted(1, 'bytes'), // str 8, 16, 32
  counted(2, 'bytes'),
  counted(4, 'bytes'),
  counted(2, 1), // array 16, 32
  counted(4, 1),
  counted(2, 2), // map 16, 32
  counted(4, 2),
]

function unsigned(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at)
  return bytes === 2 ? view.getUint16(at) : view.getUint32(at)
}
