/**
 * HTTP as it should not be: request lines, headers, lengths and chunks that lie, requests cut off
 * anywhere and pipelined. Made from a list of right requests, to which every path that takes a body
 * or parameters is added.
 */
export interface HttpRequest {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** One right request for each way of using the door. */
export const HTTP_REQUESTS: readonly HttpRequest[] = [
  { method: 'GET', path: '/health/live' },
  { method: 'HEAD', path: '/health/ready' },
  { method: 'GET', path: '/metrics' },
  { method: 'POST', path: '/no-such-path', body: '{"a":[1,2,3]}' },
  {
    method: 'GET',
    path: '/ws',
    headers: {
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-version': '13',
      'sec-websocket-protocol': 'millrace.v1',
    },
  },
]

export interface HostileHttp {
  readonly label: string
  readonly bytes: Buffer
}

export function httpBytes(request: HttpRequest, extra: readonly string[] = []): Buffer {
  const { method, path, headers = {}, body } = request
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: localhost',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    ...extra,
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body ?? ''}`, 'latin1')
}

const NESTED = 10_000

const TARGETS = [
  '',
  ' ',
  '*',
  '//',
  '/..',
  '/../../etc/passwd',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/%',
  '/%zz',
  '/%00',
  '/\x00',
  '/\xff\xfe',
  '/?a=%',
  `/?${'a=b&'.repeat(2000)}`,
  `/${'a/'.repeat(4000)}`,
  `/${'x'.repeat(100_000)}`,
  'http://other.example/metrics',
  'localhost:1',
]

const METHODS = ['get', 'TRACE', 'CONNECT', 'PRI', 'X'.repeat(1000), '', '\x00', 'GET\t', 'PATCH']
const VERSIONS = ['HTTP/1.0', 'HTTP/2.0', 'HTTP/9.9', 'HTTP/1.', 'HTTP', 'http/1.1', '']

const HEADERS: readonly string[] = [
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Content-Length: 1, 2',
  'Content-Length: 0x10',
  'Content-Length:',
  'Content-Length: 5\r\nContent-Length: 6',
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: gzip',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
  'Host: other',
  ': empty',
  'No Colon',
  ' folded: x',
  'A: b\r\n folded',
  'A\x00: b',
  'A: \x00',
  'A: \xff\xfe',
  'A: b\nC: d',
  'A: b\rC: d',
  `A: ${'x'.repeat(64 * 1024)}`,
  `${'x'.repeat(64 * 1024)}: a`,
  Array.from({ length: 3000 }, (_, i) => `A${i}: b`).join('\r\n'),
  'Expect: 100-continue',
  'Expect: nonsense',
  'Connection: close, keep-alive, upgrade',
  'Upgrade: h2c',
  'Sec-WebSocket-Version: 99',
  'Sec-WebSocket-Key: x',
  'Sec-WebSocket-Protocol: none',
  'Origin: https://elsewhere.example',
]

const CHUNKS: readonly string[] = [
  '5\r\nabc',
  '-1\r\n',
  'ffffffffffffffff\r\nabc\r\n0\r\n\r\n',
  '7fffffff\r\nabc',
  'zz\r\nabc\r\n',
  '3\r\nabcd\r\n0\r\n\r\n',
  '3;ext=x\r\nabc\r\n0\r\nTrailer: x\r\n\r\n',
  `3;${'x'.repeat(100_000)}\r\nabc\r\n0\r\n\r\n`,
  '0\r\n\r\n0\r\n\r\n',
  `${'1\r\na\r\n'.repeat(5000)}0\r\n\r\n`,
]

const BODIES: readonly (readonly [label: string, body: string])[] = [
  ['lists 10,000 deep', '['.repeat(NESTED)],
  ['closed lists 10,000 deep', '['.repeat(NESTED) + ']'.repeat(NESTED)],
  ['maps 10,000 deep', '{"a":'.repeat(NESTED)],
  ['a text without an end', '"aaaa'],
  ['a lone surrogate', '"\\ud800"'],
  ['a number without an end', '1'.repeat(100_000)],
  ['invalid UTF-8', '"\xc0\x80\xff"'],
  ['__proto__', '{"__proto__":{"a":1},"constructor":1}'],
  ['nothing', ''],
]

/** Everything that is wrong about one request. */
export function* hostileHttp(request: HttpRequest): Generator<HostileHttp> {
  const label = `${request.method} ${request.path}`
  const right = httpBytes(request)
  const text = right.toString('latin1')
  const rest = text.slice(text.indexOf('\r\n'))
  const line = (method: string, target: string, version: string): Buffer =>
    Buffer.from(`${method} ${target} ${version}${rest}`, 'latin1')
  for (const target of TARGETS) {
    const what = JSON.stringify(target.slice(0, 30))
    yield { label: `${label}: target ${what}`, bytes: line(request.method, target, 'HTTP/1.1') }
    const longer = `${request.path}${target}`
    yield { label: `${label}: and ${what}`, bytes: line(request.method, longer, 'HTTP/1.1') }
  }
  for (const method of METHODS) {
    const bytes = line(method, request.path, 'HTTP/1.1')
    yield { label: `${label}: method ${JSON.stringify(method.slice(0, 30))}`, bytes }
  }
  for (const version of VERSIONS) {
    yield { label: `${label}: ${version}`, bytes: line(request.method, request.path, version) }
  }
  for (const header of HEADERS) {
    const what = JSON.stringify(header.slice(0, 40))
    yield { label: `${label}: header ${what}`, bytes: httpBytes(request, [header]) }
  }
  for (const [index, chunks] of CHUNKS.entries()) {
    const { body: _, ...bare } = request
    const head = httpBytes({ ...bare, method: 'POST' }, ['Transfer-Encoding: chunked'])
    const bytes = Buffer.concat([head, Buffer.from(chunks, 'latin1')])
    yield { label: `${label}: chunks ${index}`, bytes }
  }
  for (const [what, body] of BODIES) {
    yield {
      label: `${label}: a body of ${what}`,
      bytes: httpBytes({ ...request, method: 'POST', body }),
    }
  }
  const step = Math.max(1, right.length >> 5)
  for (let length = 0; length < right.length; length += step) {
    yield { label: `${label}: the first ${length} bytes`, bytes: right.subarray(0, length) }
  }
  yield { label: `${label}: 500 times`, bytes: Buffer.concat(new Array(500).fill(right)) }
  yield { label: `${label}: noise behind`, bytes: Buffer.concat([right, Buffer.alloc(200, 0xfe)]) }
}
