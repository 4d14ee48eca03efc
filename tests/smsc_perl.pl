#!/usr/bin/perl
# An SMSC on Net::SMPP (Debian: libnet-smpp-perl), for the tests. One connection after the other, SMPP 3.4.
# Prints {"port": n}, then one line of JSON for each submit_sm that it takes. Ends when its standard input is closed.
use strict;
use warnings;
use IO::Select;
use JSON::PP;
use Net::SMPP;

$| = 1;
my $json = JSON::PP->new->canonical->latin1;
my $server = Net::SMPP->new_listen('127.0.0.1', port => 0, smpp_version => 0x34) or die "cannot listen: $!";
print $json->encode({port => $server->sockport}), "\n";

my %reply = (
    bind_transceiver => sub {
        my ($session, $pdu) = @_;
        my $wrong = $pdu->{password} ne 'secret';
        $session->bind_transceiver_resp(system_id => 'PERL', seq => $pdu->{seq}, status => $wrong ? 0x0e : 0);
    },
    submit_sm => sub {
        my ($session, $pdu) = @_;
        my $refused = $pdu->{destination_addr} =~ /999$/;
        $session->submit_sm_resp(message_id => "p$pdu->{seq}", seq => $pdu->{seq}, status => $refused ? 0x0b : 0);
        my %seen = map { $_ => $pdu->{$_} } qw(source_addr destination_addr source_addr_ton data_coding esm_class);
        print $json->encode({%seen, octets => unpack('H*', $pdu->{short_message})}), "\n";
    },
    enquire_link => sub { my ($session, $pdu) = @_; $session->enquire_link_resp(seq => $pdu->{seq}) },
    unbind => sub { my ($session, $pdu) = @_; $session->unbind_resp(seq => $pdu->{seq}) },
);

my $watched = IO::Select->new($server, \*STDIN);
while (1) {
    for my $ready ($watched->can_read) {
        exit 0 if $ready == \*STDIN;
        if ($ready == $server) { $watched->add(scalar $server->accept); next }
        my $pdu = $ready->read_pdu;
        if (!$pdu) { $watched->remove($ready); close $ready; next }
        my $name = Net::SMPP::pdu_tab->{$pdu->{cmd}}{cmd};
        $reply{$name}->($ready, $pdu) if $reply{$name};
    }
}
