// Whether what the screens show is live, for the chip, the banner and the actions.

import { socket, type State } from './socket';

export const connection = $state<{ state: State; lostAt: number }>({ state: 'connecting', lostAt: 0 });

socket.onState((state) => {
  if (state === 'lost' && connection.state !== 'lost') connection.lostAt = Date.now();
  connection.state = state;
});
