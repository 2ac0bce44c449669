/** A member of a group that runs Kafka's Java client (`java/src/GroupMember.java`). */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { INSTALL_HINT, repositoryRoot } from './client.ts'
import { GroupMember, type MemberCommand } from './group-member.ts'

const FOLDER = join(repositoryRoot, '.cache/java')
const CLASS_PATH = [join(FOLDER, 'classes'), join(FOLDER, 'lib', '*')].join(delimiter)
const OPTIONS = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
const LOG_LEVEL = `-Dorg.slf4j.simpleLogger.defaultLogLevel=${process.env.JAVA_LOG ?? 'error'}`

export function javaMemberAvailable(): true | string {
  const compiled = existsSync(join(FOLDER, 'classes', 'GroupMember.class'))
  return compiled || `the Java client is not installed: ${INSTALL_HINT}`
}

export interface JavaMemberOptions {
  readonly bootstrap: string
  readonly group: string
  readonly subscribe: { readonly topic: string } | { readonly regex: string }
  readonly settings?: Readonly<Record<string, string>>
}

export class JavaMember extends GroupMember {
  constructor(options: JavaMemberOptions) {
    super(javaMemberCommand(options))
  }
}

function javaMemberCommand(options: JavaMemberOptions): MemberCommand {
  const [kind, what] = Object.entries(options.subscribe)[0] as [string, string]
  const properties = {
    'bootstrap.servers': options.bootstrap,
    'group.id': options.group,
    'group.protocol': 'consumer',
    ...options.settings,
  }
  const args = Object.entries(properties).map(([name, value]) => `${name}=${value}`)
  const run = [...OPTIONS, LOG_LEVEL, '-cp', CLASS_PATH, 'GroupMember', kind, what, ...args]
  return { program: 'java', options: run }
}
