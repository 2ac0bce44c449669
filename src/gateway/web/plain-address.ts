/**
 * One way to write an address for both engines, since addresses are compared and counted: IPv4 with
 * dots, also where it came through an IPv6 socket; IPv6 with its longest run of zeros cut.
 */
export function plainAddress(text: string | undefined): string {
  if (text === undefined || !text.includes(':')) return text ?? ''
  const [bare = ''] = text.split('%') // Without the interface of a link-local address.
  const address = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(address)
  if (mapped === null) return address
  const [high, low] = [mapped[1], mapped[2]].map((group) => Number.parseInt(group as string, 16))
  return [high, low].flatMap((group = 0) => [group >> 8, group & 0xff]).join('.')
}
