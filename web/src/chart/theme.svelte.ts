// Whether the page is dark now, for what is painted rather than styled.
const media = globalThis.matchMedia?.('(prefers-color-scheme: dark)');
const now = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : (media?.matches ?? false);
};
export const theme = $state({ dark: now() });
media?.addEventListener('change', () => (theme.dark = now()));
new MutationObserver(() => (theme.dark = now())).observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
