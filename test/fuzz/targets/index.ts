/** All targets, by name. */
import type { FuzzTarget } from '../target.ts'
import { configFile } from './config-target.ts'
import { batch, decompression } from './record-targets.ts'
import {
  checkpoint,
  index,
  leaderRun,
  metadataRecord,
  producerSnapshot,
  segmentRecovery,
  timeIndex,
} from './storage-targets.ts'
import { kafkaRequest, websocketMessage } from './wire-targets.ts'

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  kafkaRequest,
  websocketMessage,
  batch,
  decompression,
  segmentRecovery,
  leaderRun,
  index,
  timeIndex,
  producerSnapshot,
  checkpoint,
  metadataRecord,
  configFile,
]
