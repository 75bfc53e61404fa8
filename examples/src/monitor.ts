/** Enrols a patient, sends readings as they come, and tells what was decided about each. */
import { connect, isDuoveilError } from '@duoveil/gateway';
import type { ConnectOptions, Decision, EnrolmentOptions, VitalSigns } from '@duoveil/gateway';

export async function monitor(
  where: ConnectOptions,
  how: EnrolmentOptions,
  readings: AsyncIterable<VitalSigns>,
  tell: (decision: Decision) => void,
): Promise<void> {
  await using gateway = await connect(where);
  await gateway.enrol(how);
  let last = 0;
  for await (const reading of readings) {
    try {
      last = await gateway.send(reading);
    } catch (error) {
      // A channel has no value: this reading is left out, the next one is sent.
      if (!isDuoveilError(error, 'INPUT_INVALID')) throw error;
    }
  }
  for await (const decision of gateway.decisions()) {
    tell(decision);
    if (decision.sequence >= last) break;
  }
}
