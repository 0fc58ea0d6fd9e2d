/** The logo of EcoWatt, as in the favicon. */
export function Logo({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#12633b" />
      <circle cx="16" cy="16" r="5" fill="#ffd166" />
      <path
        d="M16 5v3M16 24v3M5 16h3M24 16h3M8.2 8.2l2.2 2.2M21.6 21.6l2.2 2.2M8.2 23.8l2.2-2.2M21.6 10.4l2.2-2.2"
        stroke="#ffd166"
        strokeWidth="2.4"
        strokeLinecap="round"
      />
    </svg>
  );
}
