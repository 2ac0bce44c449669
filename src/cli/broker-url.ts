import { InvalidArgumentError, Option } from 'commander'

/** `--url`: the broker that the WebSocket commands talk to. */
export const DEFAULT_URL = 'ws://127.0.0.1:8080/ws'

export function urlOption(): Option {
  return new Option('-u, --url <url,…>', 'the broker, ws://HOST:PORT/ws; several of a cluster')
    .default(DEFAULT_URL)
    .env('MILLRACE_URL')
    .argParser(brokerUrl)
}

function brokerUrl(text: string): string {
  for (const one of text.split(',')) {
    const url = URL.canParse(one.trim()) ? new URL(one.trim()) : null
    if (url === null || (url.protocol !== 'ws:' && url.protocol !== 'wss:')) {
      throw new InvalidArgumentError(`Expected ws://HOST:PORT/ws, for example ${DEFAULT_URL}.`)
    }
  }
  return text
}
