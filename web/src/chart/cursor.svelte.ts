// The time that the pointer or the keyboard is at, shared by every chart of the page.
export const cursor = $state<{ at: number | undefined; by: string }>({ at: undefined, by: '' });
