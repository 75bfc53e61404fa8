import { useEffect } from 'preact/hooks';

import { useServices, useStore, type Notice } from '../services.js';

/** How long a notice that is no alarm stands. */
const STANDS_MS = 8_000;

/** What has just happened; told to screen readers as it comes. Alarms stay until they are closed. */
export function Notices() {
  const services = useServices();
  const notices = useStore(services.notices);
  return (
    <div class="notices" role="log" aria-label="Notices" aria-live="assertive">
      {notices.map((notice) => (
        <NoticeCard
          key={notice.id}
          notice={notice}
          onClose={() => {
            services.dismiss(notice.id);
          }}
        />
      ))}
    </div>
  );
}

function NoticeCard({ notice, onClose }: { notice: Notice; onClose: () => void }) {
  const { kind, text } = notice;
  useEffect(() => {
    if (kind === 'alarm') return undefined;
    const timer = setTimeout(onClose, STANDS_MS);
    return () => {
      clearTimeout(timer);
    };
    // Once for a notice, whatever is drawn again around it.
  }, [notice.id]);
  return (
    <div class={`notice ${kind}`}>
      <p>{text}</p>
      <button type="button" class="quiet" onClick={onClose} aria-label={`Close: ${text}`}>
        Close
      </button>
    </div>
  );
}
