/**
 * Puts a broker's configuration together: flags over environment over file over defaults. Every
 * unknown name and every bad value is collected, and then all are reported at once; a broker never
 * starts on a configuration that says something it does not understand.
 */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { BrokerConfig, type SetOption, type StaticSource } from './broker-config.ts'
import { checkTogether } from './check-together.ts'
import { parseCluster } from './cluster-config.ts'
import {
  type Endpoint,
  formatEndpoint,
  isLoopback,
  parseEndpoint,
  parseListeners,
} from './listeners.ts'
import { type MemoryPlan, memoryWarning, planMemory } from './memory-plan.ts'
import { shownText } from './option.ts'
import {
  BROKER_OPTIONS,
  type BrokerOptionName,
  isBrokerOption,
  OPTION_ALIASES,
  OPTIONS_WITHOUT_EFFECT,
} from './options.ts'
import {
  optionNameOf,
  parseAssignment,
  parseProperties,
  parseYamlOptions,
  variableNameOf,
} from './sources.ts'
import { didYouMean, nearest } from './suggest.ts'
import { TOPIC_OPTIONS } from './topic-options.ts'

/** The command line and its surroundings. Everything may be left out. */
export interface ConfigInputs {
  /** `--data-dir`, directories separated by commas. */
  readonly dataDir?: string
  /** `--kafka`, HOST:PORT. */
  readonly kafka?: string
  /** `--http`, HOST:PORT or off. */
  readonly http?: string
  /** `--shards`. */
  readonly shards?: string
  /** `--node-id`. */
  readonly nodeId?: string
  /** `--controllers`, ID@HOST:PORT separated by commas. */
  readonly controllers?: string
  /** `--roles`. */
  readonly roles?: string
  /** `--cluster`, HOST:PORT. */
  readonly cluster?: string
  /** `--cluster-id`. */
  readonly clusterId?: string
  /** `--insecure`. */
  readonly insecure?: boolean
  /** `--set`, each name=value. */
  readonly set?: readonly string[]
  /** `--config`, a properties or YAML file. */
  readonly configFile?: string
  /** Environment variables; none when left out. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** What relative paths are relative to; the process's directory when left out. */
  readonly currentDirectory?: string
  /** What the broker may use: defaults that do not fit become smaller. */
  readonly machine?: { readonly memoryBytes: number; readonly cores: number }
}

/** A configuration that the broker refuses to start on. */
export class ConfigError extends Error {
  /** One line each. */
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
    super(`The configuration has ${count}:\n${problems.map((line) => `  ${line}`).join('\n')}`)
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Reads and checks everything. Throws a ConfigError that names every problem. */
export function loadConfig(inputs: ConfigInputs = {}): BrokerConfig {
  const loader = new Loader()
  loader.addFlags(inputs)
  loader.addEnvironment(inputs.environment ?? {})
  if (inputs.configFile !== undefined) loader.addFile(inputs.configFile)
  return loader.finish(inputs)
}

/** Variables with the prefix that are no options: of tests, of the addon, Kubernetes' links. */
const NOT_OPTIONS = new RegExp(
  [
    '^MILLRACE_(BOOTSTRAP|CHECK_MEMORY|KAFKA_MESSAGES|NATIVE|URL|VERSION|(.*_)?SEEDS?)$',
    '^MILLRACE_(BENCH|CRASH|SIM|TEST)_',
    '^MILLRACE_(SERVICE|PORT)(_|$)',
  ].join('|'),
)

class Loader {
  readonly #set = new Map<BrokerOptionName, SetOption & { readonly where: string }>()
  readonly #problems: string[] = []
  readonly #warnings: string[] = []

  addFlags(inputs: ConfigInputs): void {
    const add = (name: BrokerOptionName, text: string | undefined, where: string): void => {
      if (text !== undefined) this.#add(name, text, { source: 'flag', where })
    }
    add('log.dirs', inputs.dataDir, '--data-dir')
    add('millrace.http.listener', inputs.http, '--http')
    add('millrace.shards', inputs.shards, '--shards')
    add('node.id', inputs.nodeId, '--node-id')
    add('controller.quorum.voters', inputs.controllers, '--controllers')
    add('process.roles', inputs.roles, '--roles')
    add('millrace.cluster.listener', inputs.cluster, '--cluster')
    add('millrace.cluster.id', inputs.clusterId, '--cluster-id')
    add('millrace.insecure', inputs.insecure === true ? 'true' : undefined, '--insecure')
    if (inputs.kafka !== undefined) {
      const endpoint = parseEndpoint(inputs.kafka)
      if (endpoint === null) {
        this.#problems.push(`--kafka: expected HOST:PORT, got "${inputs.kafka}"`)
      } else {
        add('listeners', `PLAINTEXT://${formatEndpoint(endpoint)}`, '--kafka')
      }
    }
    for (const assignment of inputs.set ?? []) {
      const pair = parseAssignment(assignment)
      if (pair === null) this.#problems.push(`--set: expected name=value, got "${assignment}"`)
      else this.#addNamed(pair[0], pair[1], { source: 'flag', where: '--set' })
    }
  }

  addEnvironment(environment: Readonly<Record<string, string | undefined>>): void {
    for (const prefix of ['MILLRACE', 'KAFKA'] as const) {
      for (const variable of Object.keys(environment).sort()) {
        const text = environment[variable]
        if (text === undefined || !variable.startsWith(`${prefix}_`)) continue
        this.#addVariable(prefix, variable, text)
      }
    }
  }

  #addVariable(prefix: 'MILLRACE' | 'KAFKA', variable: string, text: string): void {
    const plain = optionNameOf(variable.slice(prefix.length + 1))
    const own = `millrace.${plain}`
    const name = prefix === 'MILLRACE' && isBrokerOption(own) ? own : plain
    const origin = { source: 'environment', where: variable } as const
    if (isKnown(name)) this.#addNamed(name, text, origin)
    else if (prefix === 'MILLRACE' && !NOT_OPTIONS.test(variable)) {
      const variables = Object.keys(BROKER_OPTIONS).map((option) =>
        variableNameOf('MILLRACE', option.replace(/^millrace\./, '')),
      )
      this.#problems.push(
        `unknown option in the environment: ${variable}${didYouMean(variable, variables)}`,
      )
    } else if (prefix === 'KAFKA' && nearest(name, Object.keys(BROKER_OPTIONS)) !== null) {
      // KAFKA_… also holds what is not for the broker (KAFKA_OPTS): no reason to refuse to start.
      this.#warnings.push(
        `${variable} is no option${didYouMean(name, Object.keys(BROKER_OPTIONS))}`,
      )
    }
  }

  addFile(path: string): void {
    let entries: Map<string, string>
    try {
      const source = readFileSync(path, 'utf8')
      entries = /\.(ya?ml|json)$/i.test(path) ? parseYamlOptions(source) : parseProperties(source)
    } catch (error) {
      this.#problems.push(`--config ${path}: ${error instanceof Error ? error.message : error}`)
      return
    }
    for (const [name, text] of entries) this.#addNamed(name, text, { source: 'file', where: path })
  }

  /** Takes a name as somebody wrote it: perhaps an alias, perhaps no option at all. */
  #addNamed(written: string, text: string, origin: Origin): void {
    const name = aliased(written)
    if (isBrokerOption(name)) {
      this.#add(name, text, origin)
    } else if (OPTIONS_WITHOUT_EFFECT.has(name)) {
      this.#warnings.push(`${name} (${origin.where}) has no effect in this version`)
    } else {
      this.#problems.push(`unknown option: ${written} (${origin.where})${hintFor(written)}`)
    }
  }

  #add(name: BrokerOptionName, written: string, { source, where }: Origin): void {
    const text = written.trim()
    const before = this.#set.get(name)
    const shown = (value: string): string => `"${shownText(BROKER_OPTIONS[name], value)}"`
    if (before !== undefined) {
      // Sources arrive in the order of precedence: the first one keeps its word.
      if (before.source === source && before.text !== text && before.where !== where) {
        this.#problems.push(`${name} is set twice: by ${before.where} and by ${where}`)
      } else if (before.source === source && before.text !== text && source === 'flag') {
        this.#problems.push(
          `${name} is set twice by ${where}: ${shown(before.text)} and ${shown(text)}`,
        )
      }
      if (before.source !== source) this.#check(name, text, where)
      return
    }
    if (this.#check(name, text, where)) this.#set.set(name, { text, source, where })
  }

  #check(name: BrokerOptionName, text: string, where: string): boolean {
    const parsed = BROKER_OPTIONS[name].parse(text)
    if (parsed.ok) return true
    const shown = shownText(BROKER_OPTIONS[name], text)
    this.#problems.push(`${name}: expected ${parsed.expected}, got "${shown}" (${where})`)
    return false
  }

  finish({ currentDirectory = process.cwd(), machine }: ConfigInputs): BrokerConfig {
    const memory = machine === undefined ? null : this.#planMemory(machine)
    const textOf = (name: BrokerOptionName): string =>
      this.#set.get(name)?.text ?? BROKER_OPTIONS[name].defaultText ?? ''
    const { listeners, advertised } = parseListeners(
      {
        listeners: textOf('listeners'),
        advertised: this.#set.get('advertised.listeners')?.text ?? null,
        protocolMap: textOf('listener.security.protocol.map'),
      },
      this.#problems,
    )
    const http = this.#httpListener(textOf('millrace.http.listener'))
    const insecure = textOf('millrace.insecure').toLowerCase() === 'true'
    if (!insecure) {
      const doors = listeners.map((one): [string, Endpoint] => [`listener ${one.name}`, one])
      if (http !== null) doors.push(['HTTP listener', http])
      for (const [door, endpoint] of doors) {
        if (isLoopback(endpoint.host)) continue
        this.#problems.push(
          `${door} on ${formatEndpoint(endpoint)} is open beyond this machine, and anybody there ` +
            'may read and write: bind 127.0.0.1, or say --insecure if that is meant',
        )
      }
    }
    const cluster = parseCluster(
      {
        nodeId: textOf('node.id'),
        controllers: textOf('controller.quorum.voters'),
        roles: textOf('process.roles'),
        listener: textOf('millrace.cluster.listener'),
        clusterId: textOf('millrace.cluster.id'),
        secret: textOf('millrace.cluster.secret'),
        insecure,
      },
      this.#problems,
    )
    const arena = memory?.ingressBytes ?? Number(textOf('millrace.arena.ingress.bytes'))
    this.#problems.push(...checkTogether(textOf, arena))
    if (this.#problems.length > 0) throw new ConfigError(this.#problems)
    const logDirs = textOf('log.dirs')
      .split(',')
      .map((directory) => resolve(currentDirectory, directory.trim()))
    const doors = { listeners, advertisedListeners: advertised, httpListener: http }
    return new BrokerConfig(this.#set, { ...doors, logDirs, memory, cluster }, this.#warnings)
  }

  #planMemory(machine: { memoryBytes: number; cores: number }): MemoryPlan | null {
    const set = (name: BrokerOptionName): number | null => {
      const text = this.#set.get(name)?.text
      return text === undefined ? null : Number(text)
    }
    const plan = planMemory({
      limitBytes: machine.memoryBytes,
      cores: machine.cores,
      shards: set('millrace.shards') || null,
      ingressBytes: set('millrace.arena.ingress.bytes'),
      egressBytes: set('millrace.arena.egress.bytes'),
    })
    if (typeof plan === 'string') {
      this.#problems.push(plan)
      return null
    }
    const warning = memoryWarning(plan)
    if (warning !== null) this.#warnings.push(warning)
    return plan
  }

  #httpListener(text: string): Endpoint | null {
    if (text === '' || text === 'off' || text === 'none') return null
    const endpoint = parseEndpoint(text)
    if (endpoint === null) {
      this.#problems.push(`millrace.http.listener: expected HOST:PORT or off, got "${text}"`)
    }
    return endpoint
  }
}

interface Origin {
  readonly source: StaticSource
  /** For messages: a flag, a variable, a file. */
  readonly where: string
}

/** Any name may be asked for, also one that every object has (`constructor`). */
function aliased(name: string): string {
  return (Object.hasOwn(OPTION_ALIASES, name) ? OPTION_ALIASES[name] : undefined) ?? name
}

function isKnown(name: string): boolean {
  return (
    isBrokerOption(name) || Object.hasOwn(OPTION_ALIASES, name) || OPTIONS_WITHOUT_EFFECT.has(name)
  )
}

function hintFor(name: string): string {
  const topicOption = Object.hasOwn(TOPIC_OPTIONS, name) ? TOPIC_OPTIONS[name] : undefined
  const brokerName = topicOption?.synonyms[0]?.name
  if (brokerName !== undefined) return `; it is an option of topics, whose default is ${brokerName}`
  return didYouMean(name, [...Object.keys(BROKER_OPTIONS), ...Object.keys(OPTION_ALIASES)])
}
