/* Channels of a C type. */
#include "../sched/inside.h"

struct point {
    int x;
    double y;
    char name[17];
};

typedef int (*function)(int);

GYRE_CHAN_TYPE(chars, char);
GYRE_CHAN_TYPE(doubles, double);
GYRE_CHAN_TYPE(points, struct point);
GYRE_CHAN_TYPE(point_pointers, struct point *);
GYRE_CHAN_TYPE(strings, const char *);
GYRE_CHAN_TYPE(const_pointers, const struct point *);
GYRE_CHAN_TYPE(functions, function);
GYRE_CHAN_TYPE(senders, chars_sender); /* channels of channels */

static int twice(int n)
{
    return 2 * n;
}

INSIDE(chan_typed, typed_channels_carry_every_type)
{
    chars c;
    doubles d;
    points p;
    point_pointers pp;
    strings s;
    const_pointers cp;
    functions f;
    senders ss;
    struct point point = {1, 2.5, "origin"}, got_point = {0}, *pointer;
    const struct point *const_pointer;
    const char *string;
    function fn;
    chars_sender sender;
    double real;
    char byte;

    EXPECT(!chars_make(&c, 1) && !doubles_make(&d, 1) && !points_make(&p, 1) &&
           !point_pointers_make(&pp, 1) && !strings_make(&s, 1) && !const_pointers_make(&cp, 1) &&
           !functions_make(&f, 1) && !senders_make(&ss, 1));
    EXPECT_EQ(chars_send(c.sender, 'x'), 0);
    EXPECT_EQ(chars_len(c.receiver), 1);
    EXPECT_EQ(chars_cap(c.receiver), 1);
    EXPECT_EQ(chars_try_send(c.sender, 'y'), -EAGAIN);
    EXPECT_EQ(chars_recv(c.receiver, &byte), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_EQ(chars_try_recv(c.receiver, &byte), -EAGAIN);
    EXPECT_EQ(doubles_send(d.sender, 0.1), 0);
    EXPECT_EQ(doubles_recv(d.receiver, &real), 1);
    EXPECT(real == 0.1);
    EXPECT_EQ(points_send(p.sender, point), 0);
    EXPECT_EQ(points_recv(p.receiver, &got_point), 1);
    EXPECT(got_point.x == 1 && got_point.y == 2.5 && !strcmp(got_point.name, "origin"));
    EXPECT_EQ(point_pointers_send(pp.sender, &point), 0);
    EXPECT_EQ(point_pointers_recv(pp.receiver, &pointer), 1);
    EXPECT(pointer == &point);
    EXPECT_EQ(strings_send(s.sender, "hello"), 0);
    EXPECT_EQ(strings_recv(s.receiver, &string), 1);
    EXPECT(!strcmp(string, "hello"));
    EXPECT_EQ(const_pointers_send(cp.sender, &point), 0);
    EXPECT_EQ(const_pointers_recv(cp.receiver, &const_pointer), 1);
    EXPECT(const_pointer == &point);
    EXPECT_EQ(functions_send(f.sender, twice), 0);
    EXPECT_EQ(functions_recv(f.receiver, &fn), 1);
    EXPECT_EQ(fn(4), 8);
    EXPECT_EQ(senders_send(ss.sender, chars_hold_sender(c.sender)), 0);
    EXPECT_EQ(senders_recv(ss.receiver, &sender), 1);
    EXPECT_EQ(chars_send(sender, 'z'), 0);
    chars_release_sender(sender);
    EXPECT_EQ(chars_recv(c.receiver, &byte), 1);
    EXPECT_EQ(byte, 'z');
    chars_close(c.sender);
    EXPECT_EQ(chars_recv(c.receiver, &byte), 0);
    doubles_close_error(d.sender, -EIO);
    EXPECT_EQ(doubles_recv(d.receiver, &real), -EIO);
    EXPECT(real == 0.0);
    chars_release(chars_hold(c));
    chars_hold_receiver(c.receiver);
    chars_release_receiver(c.receiver);
    chars_release(c);
    doubles_release(d);
    points_release(p);
    point_pointers_release(pp);
    strings_release(s);
    const_pointers_release(cp);
    functions_release(f);
    senders_release(ss);
    return 0;
}

INSIDE(chan_typed, typed_cases_take_part_in_a_select)
{
    struct point point = {3, 4, "p"}, got = {0};
    const char *word = "word", *got_word = NULL;
    strings s;
    points p;

    EXPECT(!points_make(&p, 1) && !strings_make(&s, 1));
    for (int i = 0; i < 2; i++) {
        struct gyre_case out[] = {points_case_send(p.sender, &point),
                                  strings_case_send(s.sender, &word)};
        EXPECT(gyre_select(out) >= 0);
    }
    for (int i = 0; i < 2; i++) {
        struct gyre_case in[] = {points_case_recv(p.receiver, &got),
                                 strings_case_recv(s.receiver, &got_word)};
        EXPECT(gyre_select(in) >= 0);
    }
    EXPECT_EQ(got.x, 3);
    EXPECT(got_word == word);
    points_release(p);
    strings_release(s);
    return 0;
}
