/** Simulated patients with ground truth, for tests and demonstrations. */
export { SCENARIO_NAMES, VITAL_SIGNS } from './scenarios.js';
export type { Scenario, VitalSign } from './scenarios.js';
export { simulate, toCsv } from './simulate.js';
export type { SimulatedRow, Simulation, SimulationOptions, Truth } from './simulate.js';
