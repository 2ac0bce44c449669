/**
 * Chromium with the test's page: a server for the page on a loopback port of its own, the browser
 * without a window, and the page's actions as functions.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { packageRoot } from '../../support/package-root.ts'
import type { Actions } from './page.ts'

/** Another one is named by MILLRACE_TEST_CHROMIUM. */
const PROGRAM = process.env.MILLRACE_TEST_CHROMIUM ?? '/usr/bin/chromium'
const DOCUMENT = '/document'
const PAGE_READY_MS = 60_000
const BROWSER_ARGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Names of pages that are not on this machine, as far as the browser knows.
  '--host-resolver-rules=MAP *.example 127.0.0.1',
]

/** Nothing but scripts of its own origin and WebSockets: no inline code, none made of text. */
const POLICY =
  "default-src 'none'; script-src 'self'; connect-src ws:; require-trusted-types-for 'script'"

/** True, or what is missing. */
export function chromiumAvailable(): true | string {
  const found = spawnSync(PROGRAM, ['--version']).status === 0
  return found || 'chromium is not installed: scripts/install-test-clients.sh installs it'
}

/** The document of `show`. */
interface Shown {
  html: string
}

export class TestBrowser {
  readonly port: number
  readonly #server: Server
  readonly #browser: Browser
  readonly #shown: Shown

  private constructor(server: Server, browser: Browser, shown: Shown) {
    this.#shown = shown
    this.port = (server.address() as AddressInfo).port
    this.#server = server
    this.#browser = browser
  }

  static async open(): Promise<TestBrowser> {
    const shown = { html: '' }
    const server = await servePage(shown)
    try {
      const browser = await chromium.launch({ executablePath: PROGRAM, args: BROWSER_ARGS })
      return new TestBrowser(server, browser, shown)
    } catch (error) {
      server.close()
      throw error
    }
  }

  /** A new page of `host`; this machine unless told otherwise. */
  async openPage(host = '127.0.0.1'): Promise<TestPage> {
    const page = await this.#browser.newPage()
    const opened = new TestPage(page)
    await page.goto(`http://${host}:${this.port}/`)
    // Asked from outside: a predicate that the page polls by itself is eval to its security policy.
    const deadline = Date.now() + PAGE_READY_MS
    while (!(await page.evaluate(() => 'actions' in globalThis))) {
      if (Date.now() > deadline) throw new Error('the page does not get ready')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return opened
  }

  /** Shows a document, beside the bundle, until it logs a line of `logged`. */
  async show(html: string, logged: RegExp): Promise<string> {
    const page = await this.#browser.newPage()
    try {
      // From the server: a page without an address of this machine may not connect to it.
      this.#shown.html = html
      const address = `http://127.0.0.1:${this.port}${DOCUMENT}`
      const message = page.waitForEvent('console', (line) => logged.test(line.text()))
      await Promise.all([message, page.goto(address)])
      return (await message).text()
    } finally {
      await page.close()
    }
  }

  async close(): Promise<void> {
    await this.#browser.close()
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

export class TestPage {
  /** Errors that nobody in the page caught. */
  readonly errors: string[] = []
  readonly #page: Page

  constructor(page: Page) {
    this.#page = page
    page.on('pageerror', (error) => this.errors.push(error.message))
  }

  /** Runs one of the page's actions and gives its result. */
  async run<Name extends keyof Actions>(
    name: Name,
    ...args: Parameters<Actions[Name]>
  ): Promise<Awaited<ReturnType<Actions[Name]>>> {
    // As text both ways: the driver takes seconds to copy an array of a hundred thousand.
    const order = JSON.stringify(args[0] ?? null)
    const call = async ([action, text]: string[]): Promise<string> => {
      const globals = globalThis as unknown as { actions: Record<string, (of: unknown) => unknown> }
      return JSON.stringify(await globals.actions[action as string]?.(JSON.parse(text as string)))
    }
    return JSON.parse(await this.#page.evaluate(call, [name, order]))
  }

  close(): Promise<void> {
    return this.#page.close()
  }
}

async function servePage(shown: Shown): Promise<Server> {
  const root = packageRoot()
  const files: Record<string, [path: string, type: string]> = {
    '/': ['test/e2e/browser/page.html', 'text/html'],
    '/page.js': ['build/test/e2e/browser/page.js', 'text/javascript'],
    '/events.js': ['build/test/e2e/browser/events.js', 'text/javascript'],
    '/millrace.js': ['dist/browser/millrace.js', 'text/javascript'],
  }
  const server = createServer((request, response) => {
    const file = files[request.url ?? '']
    if (request.url === DOCUMENT) {
      response.writeHead(200, { 'content-type': 'text/html' }).end(shown.html)
      return
    }
    if (file === undefined) {
      response.writeHead(404).end()
      return
    }
    const headers = { 'content-type': file[1], 'content-security-policy': POLICY }
    response.writeHead(200, headers).end(readFileSync(join(root, file[0])))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}
