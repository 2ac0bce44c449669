import { stat } from 'node:fs/promises'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'

/** Bytes of all these files. Throws a BrokerError that names the one which cannot be read. */
export async function sizeOf(files: readonly string[]): Promise<number> {
  let bytes = 0
  for (const file of files) {
    try {
      bytes += (await stat(file)).size
    } catch (error) {
      throw new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, `read ${file}`, error)
    }
  }
  return bytes
}
