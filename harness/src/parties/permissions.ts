import type { Role } from '@duoveil/common/runtime';

const everybody = ['csp', 'sp', 'gateway', 'operator', 'auditor', 'custodian'] as const;

/**
 * Which roles may make which call, at either server. Whoever's certificate holds another role is
 * refused with PERMISSION_DENIED before the request is looked at; a gateway is refused, too, where it
 * names another patient than its certificate does. What is not listed is not served there.
 */
export const PERMISSIONS = {
  csp: {
    '/duoveil.v1.CustodyService/GetCustody': ['sp', 'operator', 'auditor', 'custodian'],
    '/duoveil.v1.CustodyService/Unseal': ['custodian'],
    '/duoveil.v1.CustodyService/Rotate': ['custodian'],
    '/duoveil.v1.CustodyService/Retire': ['custodian'],
    '/duoveil.v1.CustodyService/Seal': ['custodian'],
    '/duoveil.v1.ParametersService/GetParameters': ['sp', 'operator', 'auditor'],
    '/duoveil.v1.OperationsService/SetLogLevel': ['operator'],
    '/duoveil.v1.KeyService/RegisterKey': ['sp'],
    '/duoveil.v1.BlindedArithmeticService/Subtract': ['sp'],
    '/duoveil.v1.BlindedArithmeticService/Multiply': ['sp'],
    '/duoveil.v1.BlindedArithmeticService/Divide': ['sp'],
    '/duoveil.v1.BlindedArithmeticService/InvertMatrix': ['sp'],
    '/duoveil.v1.BlindedArithmeticService/Open': ['sp'],
    '/duoveil.v1.PackedService/RegisterProviderKey': ['sp'],
    '/duoveil.v1.PackedService/ShareGram': ['sp'],
    '/duoveil.v1.PackedService/InvertGram': ['sp'],
    '/duoveil.v1.PackedService/KeepCoefficients': ['sp'],
    '/duoveil.v1.PackedService/LoadModel': ['sp'],
    '/duoveil.v1.PackedService/Score': ['sp'],
    '/duoveil.v1.PackedService/OfferTransfers': ['sp'],
    '/duoveil.v1.PackedService/ChooseTransfers': ['sp'],
    '/duoveil.v1.PackedService/Compare': ['sp'],
    '/grpc.health.v1.Health/Check': everybody,
    '/grpc.health.v1.Health/Watch': everybody,
    '/grpc.health.v1.Health/List': everybody,
  },
  sp: {
    '/duoveil.v1.ParametersService/GetParameters': ['gateway', 'operator', 'auditor'],
    '/duoveil.v1.OperationsService/SetLogLevel': ['operator'],
    '/duoveil.v1.EnrolmentService/Enrol': ['gateway'],
    '/duoveil.v1.IngestService/Ingest': ['gateway'],
    '/duoveil.v1.MonitoringService/Watch': ['gateway', 'operator'],
    '/duoveil.v1.StatisticsService/GetStatistics': ['gateway'],
    '/duoveil.v1.BaselineService/GetBaselineSamples': ['gateway'],
    '/duoveil.v1.AlarmService/ListAlarms': ['operator'],
    '/duoveil.v1.AlarmService/WatchAlarms': ['operator'],
    '/duoveil.v1.AlarmService/AcknowledgeAlarms': ['operator'],
    '/duoveil.v1.AlarmService/SuppressAlarms': ['operator'],
    '/duoveil.v1.AlarmService/UnsuppressAlarms': ['operator'],
    '/duoveil.v1.AlarmService/RelearnBaseline': ['operator'],
    '/grpc.health.v1.Health/Check': everybody,
    '/grpc.health.v1.Health/Watch': everybody,
    '/grpc.health.v1.Health/List': everybody,
  },
} as const satisfies Record<'csp' | 'sp', Readonly<Record<string, readonly Role[]>>>;
