import { useServices, useStore } from '../services.js';
import { Time } from './time.js';

/** Says so, for as long as what is shown is not the present state. */
export function Banner() {
  const { live } = useServices();
  const connection = useStore(live.connection);
  return (
    <div role="status" class="banner-place">
      {connection.state === 'lost' && (
        <p class="banner">
          <span>
            <strong>Connection lost.</strong> Showing the state of <Time at={connection.since} />.
            Trying to connect again.
          </span>
          <button
            type="button"
            onClick={() => {
              live.retry();
            }}
          >
            Try now
          </button>
        </p>
      )}
    </div>
  );
}
