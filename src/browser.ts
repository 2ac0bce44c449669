/**
 * The public interface of the package in browsers: the client of `millrace.v1`. `npm run build`
 * makes one file of it, `dist/browser/millrace.js`; nothing that it imports may need Node.
 */
import { Client, type ClientOptions } from './client/client.ts'
import { browserPlatform } from './client/platform-browser.ts'

export * from './client/public.ts'

/** A client of the server at `options.url`. Throws TypeError or RangeError for wrong options. */
export function createClient(options: ClientOptions): Client {
  return new Client(options, browserPlatform)
}
