/**
 * How `consume` prints a record: its value, JSON, or a template of the user's. Bytes go out as they
 * are, except in JSON, where what is no UTF-8 becomes base64.
 */
export interface PrintableRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since the Unix epoch. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly { readonly key: string; readonly value: Uint8Array | null }[]
}

export type Print = (record: PrintableRecord) => Uint8Array

export class TemplateError extends Error {}

export const TEMPLATE_HELP =
  '%t topic, %p partition, %o offset, %T timestamp, %k key, %v value, %h headers, \\n, \\t, %%'

const encoder = new TextEncoder()
const NEWLINE = encoder.encode('\n')

/** 'text', 'json', or a template. Throws TemplateError. */
export function printerOf(format: string): Print {
  if (format === 'json') return printJson
  if (format === 'text') return (record) => Buffer.concat([record.value ?? EMPTY, NEWLINE])
  return printTemplate(format)
}

const EMPTY = new Uint8Array(0)

function printJson(record: PrintableRecord): Uint8Array {
  const { topic, partition, offset, timestamp, key, value, headers } = record
  const line = {
    topic,
    partition,
    offset,
    timestamp,
    ...field('key', key),
    ...field('value', value),
    headers: headers.map((header) => ({ name: header.key, ...field('value', header.value) })),
  }
  return encoder.encode(`${JSON.stringify(line)}\n`)
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `name` as text, or `nameBase64` when it is no UTF-8. */
function field(name: string, bytes: Uint8Array | null): Readonly<Record<string, string | null>> {
  if (bytes === null) return { [name]: null }
  try {
    return { [name]: strict.decode(bytes) }
  } catch {
    return { [`${name}Base64`]: Buffer.from(bytes).toString('base64') }
  }
}

function printTemplate(template: string): Print {
  const parts: ((record: PrintableRecord) => Uint8Array)[] = []
  const literal = (text: string): void => {
    const bytes = encoder.encode(text)
    parts.push(() => bytes)
  }
  for (const [piece] of template.matchAll(/%.?|\\.?|[^%\\]+/gsu)) {
    // A piece is what somebody typed: `constructor` is in every object.
    if (Object.hasOwn(PARTS, piece)) parts.push(PARTS[piece] as (typeof parts)[number])
    else if (Object.hasOwn(ESCAPES, piece)) literal(ESCAPES[piece] as string)
    else if (piece.startsWith('%')) {
      throw new TemplateError(`"${piece}" means nothing: ${TEMPLATE_HELP}`)
    } else literal(piece)
  }
  return (record) => Buffer.concat(parts.map((part) => part(record)))
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\n': '\n',
  '\\t': '\t',
  '\\0': '\0',
  '\\\\': '\\',
  '%%': '%',
}

const PARTS: Readonly<Record<string, (record: PrintableRecord) => Uint8Array>> = {
  '%t': ({ topic }) => encoder.encode(topic),
  '%p': ({ partition }) => encoder.encode(String(partition)),
  '%o': ({ offset }) => encoder.encode(String(offset)),
  '%T': ({ timestamp }) => encoder.encode(String(timestamp)),
  '%k': ({ key }) => key ?? EMPTY,
  '%v': ({ value }) => value ?? EMPTY,
  '%h': ({ headers }) =>
    Buffer.concat(
      headers.flatMap(({ key, value }, index) => [
        encoder.encode(`${index === 0 ? '' : ','}${key}=`),
        value ?? EMPTY,
      ]),
    ),
}
