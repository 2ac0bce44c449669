/**
 * A real Prometheus that scrapes one broker every second, in a directory of its own; and what asks
 * it. `promtool` comes with it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'

/** True, or what is missing. */
export function prometheusAvailable(): true | string {
  const isThere = (name: string): boolean => spawnSync(name, ['--version']).error === undefined
  if (isThere('prometheus') && isThere('promtool')) return true
  return 'no prometheus: run scripts/install-test-clients.sh'
}

export interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const WAIT_MS_MAX = 60_000

export class Prometheus {
  readonly #url: string
  readonly #child: ChildProcess
  readonly #directory: string
  #output = ''

  private constructor(url: string, child: ChildProcess, directory: string) {
    this.#url = url
    this.#child = child
    this.#directory = directory
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#output = `${this.#output}${chunk}`.slice(-20_000)
    })
  }

  /** `target`: HOST:PORT of the broker's HTTP door. Resolves when it answers questions. */
  static async start(target: string): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-prometheus-'))
    const config = join(directory, 'prometheus.yml')
    writeFileSync(config, configOf(target))
    const port = await freePort()
    const child = spawn(
      'prometheus',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, child, directory)
    await prometheus.until('it answers', async () => {
      const response = await fetch(`http://127.0.0.1:${port}/-/ready`).catch(() => null)
      await response?.body?.cancel()
      return response?.status === 200
    })
    return prometheus
  }

  /** Instant query; throws with Prometheus' own words for an expression that it does not take. */
  async query(expr: string): Promise<Series[]> {
    const data = await this.#ask<{
      result: { metric: Series['labels']; value: [number, string] }[]
    }>(`/api/v1/query?query=${encodeURIComponent(expr)}`)
    return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
  }

  /** Values of a label among the series that `match` selects: Grafana's `label_values`. */
  labelValues(match: string, label: string): Promise<string[]> {
    return this.#ask(`/api/v1/label/${label}/values?match[]=${encodeURIComponent(match)}`)
  }

  /** Waits for a condition, not for a time. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + WAIT_MS_MAX
    while (Date.now() < deadline) {
      if (this.#child.exitCode !== null) throw new Error(`prometheus ended:\n${this.#output}`)
      if (await holds()) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`${what}: not in ${WAIT_MS_MAX} ms\n${this.#output}`)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async #ask<T>(path: string): Promise<T> {
    const response = await fetch(`${this.#url}${path}`)
    const body = (await response.json()) as { status: string; data: T; error?: string }
    if (body.status !== 'success') throw new Error(`${path}: ${body.error}`)
    return body.data
  }
}

function configOf(target: string): string {
  return `
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: millrace
    static_configs: [{ targets: ['${target}'] }]
`
}

/** What `promtool check metrics` complains of; empty when nothing. */
export function checkMetrics(text: string): string {
  const { stdout, stderr, status } = spawnSync('promtool', ['check', 'metrics'], { input: text })
  return status === 0 ? '' : `${stdout}${stderr}`
}
