/*
 * An answer is kept as it came, with the places of its times to live: to send it again is a copy
 * in which a few numbers change. Its question has the length of every client's, which differs in
 * case only, so each gets its own spelling back and what refers to it by compression follows.
 *
 * The OPT record belongs to one hop and is not kept. What may follow it is dropped with it: these
 * are additional records, and nothing points forward to them.
 */
#include "message.h"

#include <gyre.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* of the header's second word */
    QR = 0x8000,
    AA = 0x0400,
    TC = 0x0200,
    RD = 0x0100,
    RA = 0x0080,
    AD = 0x0020,
    CD = 0x0010,
    OPCODE = 0x7800,
    CODE = 0x000f,

    AT_FLAGS = 2,
    AT_COUNTS = 4,
    SOA_FIXED = 20,
    KEEP_MOST = 86400 /* seconds */
};

static void header_write(unsigned char *out, uint16_t id, unsigned flags, bool question)
{
    memset(out, 0, NS_HFIXEDSZ);
    ns_put16(id, out);
    ns_put16(flags, out + AT_FLAGS);
    ns_put16(question, out + AT_COUNTS);
}

static void count_write(unsigned char *message, ns_sect section, unsigned count)
{
    ns_put16(count, message + AT_COUNTS + NS_INT16SZ * section);
}

/* The OPT record: an empty name, the UDP size as its class, flags as its time to live. */
static size_t opt_write(unsigned char *out, unsigned extended_code, unsigned flags)
{
    out[0] = 0;
    ns_put16(ns_t_opt, out + 1);
    ns_put16(UDP_SIZE, out + 3);
    ns_put32((unsigned long)extended_code << 24 | flags, out + 5);
    ns_put16(0, out + 9);
    return OPT_SIZE;
}

static uint16_t key_flags(const struct key *key)
{
    return (uint16_t)ns_get16(key->bytes + key->size - NS_INT16SZ);
}

/* The message's only question. Returns its size on the wire, or 0: none, several, or a name that is
 * compressed though nothing stands before it. */
static size_t question_read(struct key *key, const ns_msg *message, unsigned flags)
{
    const unsigned char *question = ns_msg_base(*message) + NS_HFIXEDSZ;
    int name;

    if (ns_msg_count(*message, ns_s_qd) != 1)
        return 0;
    name = ns_name_ntol(question, key->bytes, NS_MAXCDNAME);
    if (name < 0)
        return 0;
    memcpy(key->bytes + name, question + name, NS_QFIXEDSZ);
    ns_put16(flags, key->bytes + name + NS_QFIXEDSZ);
    key->size = (uint16_t)(name + NS_QFIXEDSZ + NS_INT16SZ);
    return (size_t)name + NS_QFIXEDSZ;
}

/* Returns the flags of its OPT record, 0 without one; or below zero the code of the refusal. */
static int request_read_edns(struct request *request, ns_msg *message)
{
    ns_rr record;
    int flags = 0;

    for (int i = 0; i < ns_msg_count(*message, ns_s_ar); i++) {
        if (ns_parserr(message, ns_s_ar, i, &record))
            return -ns_r_formerr;
        if (ns_rr_type(record) != ns_t_opt)
            continue;
        if (request->edns || record.name[0])
            return -ns_r_formerr;
        request->edns = true;
        if (record.rr_class > NS_PACKETSZ)
            request->udp_size = record.rr_class;
        if (ns_rr_ttl(record) >> 16 & 0xff) /* a later version of EDNS */
            return -ns_r_badvers;
        flags = (int)(ns_rr_ttl(record) & NS_OPT_DNSSEC_OK);
    }
    return flags;
}

int request_read(struct request *request, const unsigned char *data, size_t size)
{
    ns_msg message;
    uint16_t type;
    int edns;

    if (size < NS_HFIXEDSZ || size > NS_MAXMSG || ns_get16(data + AT_FLAGS) & QR)
        return -1;
    request->id = (uint16_t)ns_get16(data);
    request->flags = (uint16_t)ns_get16(data + AT_FLAGS);
    request->udp_size = NS_PACKETSZ;
    request->question_size = 0;
    request->edns = false;
    if (request->flags & OPCODE)
        return ns_r_notimpl;
    if (ns_initparse(data, (int)size, &message))
        return ns_r_formerr;
    edns = request_read_edns(request, &message);
    request->question_size = (uint16_t)question_read(&request->key, &message,
                                                     (request->flags & (RD | AD | CD)) |
                                                         (edns > 0 ? (unsigned)edns : 0));
    if (!request->question_size)
        return ns_r_formerr;
    memcpy(request->question, data + NS_HFIXEDSZ, request->question_size);
    if (edns < 0)
        return -edns;
    type = (uint16_t)ns_get16(request->question + request->question_size - NS_QFIXEDSZ);
    return type == ns_t_axfr || type == ns_t_ixfr ? ns_r_refused : 0;
}

/* The refusal's size; also the head of an answer that is too long. */
static size_t short_write(const struct request *request, unsigned flags, unsigned extended_code,
                          unsigned char *out)
{
    size_t size = NS_HFIXEDSZ;

    header_write(out, request->id, flags, request->question_size);
    memcpy(out + size, request->question, request->question_size);
    size += request->question_size;
    if (request->edns) {
        size += opt_write(out + size, extended_code,
                          request->question_size ? key_flags(&request->key) & NS_OPT_DNSSEC_OK : 0);
        count_write(out, ns_s_ar, 1);
    }
    return size;
}

size_t request_refuse(const struct request *request, int code, unsigned char out[QUERY_MAX])
{
    unsigned flags = QR | RA | (request->flags & (OPCODE | RD | CD)) | ((unsigned)code & CODE);

    return short_write(request, flags, (unsigned)code >> 4, out);
}

size_t query_write(const struct key *key, uint16_t id, bool edns, unsigned char out[QUERY_MAX])
{
    size_t size = NS_HFIXEDSZ;
    unsigned flags = key_flags(key);

    header_write(out, id, flags & ~NS_OPT_DNSSEC_OK, true);
    memcpy(out + size, key->bytes, key->size - (size_t)NS_INT16SZ);
    size += key->size - (size_t)NS_INT16SZ;
    if (edns) {
        size += opt_write(out + size, 0, flags & NS_OPT_DNSSEC_OK);
        count_write(out, ns_s_ar, 1);
    }
    return size;
}

/* --- answers ----------------------------------------------------------------------------------
 */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What the records say, gathered section by section. */
struct survey {
    struct answer *answer;
    ns_msg message;
    size_t counts[ns_s_max];
    uint16_t type; /* that was asked for */
    bool found;    /* a record of it */
    bool denied;   /* by a SOA record */
    uint32_t code; /* what EDNS adds to the header's */
};

static void record_take(struct survey *survey, ns_sect section, const ns_rr *record)
{
    struct answer *answer = survey->answer;
    unsigned char *ttl =
        answer->bytes + (record->rdata - ns_msg_base(survey->message)) - NS_INT16SZ - NS_INT32SZ;
    uint32_t seconds = ns_rr_ttl(*record);

    if (seconds > INT32_MAX) /* RFC 2181 */
        seconds = 0;
    if (section == ns_s_an && (record->type == survey->type || survey->type == ns_t_any))
        survey->found = true;
    if (section == ns_s_ns && record->type == ns_t_soa && record->rdlength > SOA_FIXED) {
        /* RFC 2308: its last field bounds how long a denial holds */
        survey->denied = true;
        seconds = least(seconds, (uint32_t)ns_get32(record->rdata + record->rdlength - NS_INT32SZ));
    }
    ns_put32(seconds, ttl);
    answer->ttls[answer->ttl_count++] = (uint16_t)(ttl - answer->bytes);
    answer->lifetime = least(answer->lifetime, seconds);
}

/* Returns 0, 1: the OPT record was met, or -EBADMSG. */
static int section_take(struct survey *survey, ns_sect section, size_t *end)
{
    struct answer *answer = survey->answer;
    ns_rr record;

    for (int i = 0; i < ns_msg_count(survey->message, section); i++) {
        if (ns_parserr(&survey->message, section, i, &record))
            return -EBADMSG;
        if (record.type == ns_t_opt) {
            answer->edns = true;
            survey->code = ns_rr_ttl(record) >> 24;
            return 1;
        }
        record_take(survey, section, &record);
        survey->counts[section]++;
        *end = (size_t)(record.rdata + record.rdlength - ns_msg_base(survey->message));
    }
    return 0;
}

static int answer_survey(struct survey *survey, size_t question_end)
{
    struct answer *answer = survey->answer;
    size_t end = question_end;
    int error = section_take(survey, ns_s_an, &end);

    if (!error)
        error = section_take(survey, ns_s_ns, &end);
    answer->essential = end;
    answer->essential_ttl_count = answer->ttl_count;
    if (!error)
        error = section_take(survey, ns_s_ar, &end);
    if (error < 0)
        return error;
    answer->size = end;
    for (ns_sect section = ns_s_an; section <= ns_s_ar; section++)
        count_write(answer->bytes, section, (unsigned)survey->counts[section]);
    answer->code = (int)(survey->code << 4 | (uint32_t)answer->code);
    /* A name, or a type of it, that is not there is remembered only if a SOA says how long. */
    if (answer->truncated || (answer->code != ns_r_noerror && answer->code != ns_r_nxdomain) ||
        ((answer->code == ns_r_nxdomain || !survey->found) && !survey->denied))
        answer->lifetime = 0;
    return 0;
}

/* Where the question ends, if this answers it; where its sender could not read the question there
 * is none. 0: it is something else. */
static size_t answer_match(const ns_msg *message, const struct key *key, uint16_t id)
{
    struct key other;
    size_t size;

    if (ns_msg_id(*message) != id || !ns_msg_getflag(*message, ns_f_qr) ||
        ns_msg_getflag(*message, ns_f_opcode) != ns_o_query)
        return 0;
    if (ns_msg_getflag(*message, ns_f_rcode) == ns_r_formerr && !ns_msg_count(*message, ns_s_qd) &&
        !ns_msg_count(*message, ns_s_an) && !ns_msg_count(*message, ns_s_ns))
        return NS_HFIXEDSZ;
    size = question_read(&other, message, key_flags(key));
    if (!size || other.size != key->size || memcmp(other.bytes, key->bytes, key->size) != 0)
        return 0;
    return NS_HFIXEDSZ + size;
}

int answer_read(struct answer **answer, const unsigned char *data, size_t size,
                const struct key *key, uint16_t id)
{
    struct survey survey = {0};
    struct answer *made;
    size_t records = 0, question_end;
    int error;

    if (size < NS_HFIXEDSZ || size > NS_MAXMSG || ns_initparse(data, (int)size, &survey.message))
        return -EAGAIN;
    question_end = answer_match(&survey.message, key, id);
    if (!question_end)
        return -EAGAIN;
    for (ns_sect section = ns_s_an; section <= ns_s_ar; section++)
        records += ns_msg_count(survey.message, section);
    made = calloc(1, sizeof *made + records * sizeof *made->ttls + size);
    if (!made)
        return -ENOMEM;
    atomic_init(&made->holders, 1);
    made->born = gyre_now();
    made->lifetime = KEEP_MOST;
    made->code = ns_msg_getflag(survey.message, ns_f_rcode);
    made->truncated = ns_msg_getflag(survey.message, ns_f_tc);
    made->bytes = (unsigned char *)&made->ttls[records];
    memcpy(made->bytes, data, size);
    survey.answer = made;
    survey.type = (uint16_t)ns_get16(key->bytes + key->size - NS_INT16SZ - NS_QFIXEDSZ);
    error = answer_survey(&survey, question_end);
    if (question_end == NS_HFIXEDSZ)
        made->size = made->essential;
    if (error)
        free(made);
    else
        *answer = made;
    return error;
}

struct answer *answer_hold(struct answer *answer)
{
    if (answer)
        atomic_fetch_add_explicit(&answer->holders, 1, memory_order_relaxed);
    return answer;
}

void answer_release(struct answer *answer)
{
    /* Release and acquire: the last one frees what the others have read. */
    if (answer && atomic_fetch_sub_explicit(&answer->holders, 1, memory_order_acq_rel) == 1)
        free(answer);
}

static uint32_t answer_age(const struct answer *answer)
{
    return (uint32_t)((gyre_now() - answer->born) / GYRE_SECOND);
}

bool answer_is_fresh(const struct answer *answer)
{
    return answer_age(answer) < answer->lifetime;
}

size_t answer_write(const struct answer *answer, const struct request *request, size_t limit,
                    unsigned char *out)
{
    unsigned flags = (unsigned)ns_get16(answer->bytes + AT_FLAGS) & ~(unsigned)AA;
    size_t size = answer->size, ttl_count = answer->ttl_count,
           room = limit - (request->edns ? OPT_SIZE : 0);
    uint32_t age = answer_age(answer), ttl;

    if (size > room) {
        size = answer->essential;
        ttl_count = answer->essential_ttl_count;
    }
    if (size > room || size < NS_HFIXEDSZ + (size_t)request->question_size)
        return short_write(request, size > room ? flags | TC : flags, 0, out);
    memcpy(out, answer->bytes, size);
    ns_put16(request->id, out);
    ns_put16(flags, out + AT_FLAGS);
    memcpy(out + NS_HFIXEDSZ, request->question, request->question_size);
    for (size_t i = 0; i < ttl_count; i++) {
        ttl = (uint32_t)ns_get32(answer->bytes + answer->ttls[i]);
        ns_put32(ttl > age ? ttl - age : 0, out + answer->ttls[i]);
    }
    if (size < answer->size)
        count_write(out, ns_s_ar, 0);
    if (request->edns) {
        count_write(out, ns_s_ar, (unsigned)ns_get16(out + AT_COUNTS + NS_INT16SZ * ns_s_ar) + 1);
        size += opt_write(out + size, (unsigned)answer->code >> 4,
                          key_flags(&request->key) & NS_OPT_DNSSEC_OK);
    }
    return size;
}
