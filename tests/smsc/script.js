// An SMSC on npm's `smpp`, for the tests: misbehaves as its argument (JSON) says, and reports what it took.
//
//   node script.js '{"password": "...", "throttle_every": 50, "drop_every": 500, "delay_ms": 10}'
//
// Prints {"port": n} first. Each line on standard input is a command: {"do": "report"} prints what was taken,
// {"do": "unbind"} ends all binds, {"do": "refuse", "status": n} refuses the binds to come (0: lets them in),
// {"do": "receipt", "id": "...", "state": "DELIVRD"} sends a delivery receipt. Each is answered by one line.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const how = JSON.parse(process.argv[2] || '{}');
const taken = []; // {text, id, session, place}: place counts the submit_sm of one session
const sessions = [];
let seen = 0;
let throttled = 0;
let drops = 0;
let refusal = 0;
let unbound = 0;
let receiptsAnswered = 0;

function later(act) {
  if (how.delay_ms) setTimeout(act, Math.random() * how.delay_ms);
  else act();
}

function textOf(pdu) {
  const content = pdu.short_message && pdu.short_message.message;
  return Buffer.isBuffer(content) ? content.toString('latin1') : String(content);
}

function submitted(session, number, pdu) {
  seen += 1;
  session.place += 1;
  answer(session, number, pdu);
  if (how.drop_every && seen % how.drop_every === 0) {
    drops += 1;
    session.socket.destroy();
  }
}

function answer(session, number, pdu) {
  if (how.throttle_every && seen % how.throttle_every === 0) {
    throttled += 1;
    later(() => session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED })));
    return;
  }
  // Taken before it is answered, as real ones do: a drop in between is what makes an outcome unknown.
  const id = `n${seen}`;
  taken.push({
    text: textOf(pdu), id, session: number, place: session.place, udh: (pdu.short_message && pdu.short_message.udh) || null,
    payload: pdu.message_payload ? textOf({ short_message: pdu.message_payload }) : null,
    sar: pdu.sar_msg_ref_num === undefined ? null : [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
    source: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
    destination: [pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr],
    data_coding: pdu.data_coding, esm_class: pdu.esm_class, registered_delivery: pdu.registered_delivery,
    service_type: pdu.service_type, validity_period: pdu.validity_period,
  });
  later(() => session.send(pdu.response({ message_id: id })));
}

function bound(session, pdu) {
  const wrong = how.password !== undefined && pdu.password !== how.password;
  const status = refusal || (wrong ? smpp.ESME_RINVPASWD : 0);
  session.send(pdu.response({ command_status: status, system_id: 'NODE' }));
}

const server = smpp.createServer((session) => {
  const number = sessions.push(session) - 1;
  session.place = 0;
  session.on('bind_transceiver', (pdu) => bound(session, pdu));
  session.on('bind_transmitter', (pdu) => bound(session, pdu));
  session.on('submit_sm', (pdu) => submitted(session, number, pdu));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => { unbound += 1; session.send(pdu.response()); session.close(); });
  session.on('error', () => {}); // a peer that went away is no news
});

const commands = {
  report: () => ({
    taken, seen, throttled, drops, unbound, receiptsAnswered, sessions: sessions.map((session) => session.place),
  }),
  refuse: ({ status }) => { refusal = status; return {}; },
  unbind: () => { sessions.forEach((session) => session.unbind(() => session.close())); return {}; },
  receipt: ({ id, state }) => {
    const text = `id:${id} sub:001 dlvrd:001 submit date:2611220900 done date:2611220901 stat:${state} err:000 text:hello`;
    sessions[sessions.length - 1].deliver_sm(
      { esm_class: 4, source_addr: '491701234567', destination_addr: 'ACME', short_message: text, receipted_message_id: id },
      () => { receiptsAnswered += 1; },
    );
    return {};
  },
};

readline.createInterface({ input: process.stdin })
  .on('line', (line) => { const command = JSON.parse(line); console.log(JSON.stringify(commands[command.do](command))); })
  .on('close', () => process.exit(0)); // the test is over, whatever way

server.listen(how.port || 0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
