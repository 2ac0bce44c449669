/** Whose line it is: the log's level can be set for each of them apart (`millrace.log.level`). */
export const LOG_COMPONENTS = [
  'broker',
  'groups',
  'cluster',
  'storage',
  'metadata',
  'kafka',
  'websocket',
  'http',
] as const
export type LogComponent = (typeof LOG_COMPONENTS)[number]
