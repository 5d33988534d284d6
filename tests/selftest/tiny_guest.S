# A guest of one kilobyte in ring 0, for the self-tests of faults of a node: no hypervisor, no Linux, but interrupts,
# two network cards and a console. A hundred times a second its timer sends a frame on each card, takes back what came,
# and looks at the console: "p" is answered by "pong", "c" makes it panic as Linux does when it is asked to. An unknown
# instruction makes it panic as Xen does; an NMI makes it say so and go on.
# as --32 tiny_guest.S && ld -m elf_i386 -Ttext 0x100000 --oformat binary

        .code32
        .set RINGS, 0x400000            # of card n at RINGS + n * 64 KiB
        .set TX, 0x4000                 # behind the receive queue of the same card
        .set AVAIL, 0x1000              # within a queue of 256 entries
        .set USED, 0x2000
        .set RX_BUFFER, 0x8000
        .set TX_BUFFER, 0x9000
        .set FRAME_BYTES, 70            # ten of virtio's header, sixty of Ethernet

        .globl _start
_start: jmp     begin
        .balign 4
header: .long   0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
        .long   header, _start, end, end, begin

begin:  cli
        cld
        movl    $0x300000, %esp
        lgdt    gdt_pointer
        ljmp    $8, $1f
1:      movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss

        movl    $idt, %edi              # memory survives a reset: the tables are made anew
        xorl    %eax, %eax
        movl    $128, %ecx
        rep stosl
        movl    $RINGS, %edi
        movl    $0x8000, %ecx
        rep stosl
        movl    $6, %ecx
        movl    $undefined, %eax
        call    gate
        movl    $2, %ecx
        movl    $nmi, %eax
        call    gate
        movl    $0x20, %ecx
        movl    $timer, %eax
        call    gate
        lidt    idt_pointer

        movl    $pic, %esi              # interrupts 0 to 15 become vectors 32 to 47; all but the timer are masked
2:      lodsb
        testb   %al, %al
        jz      3f
        movzbl  %al, %edx
        lodsb
        outb    %al, %dx
        jmp     2b

3:      movl    $0, %ebp                # the cards
        call    card
        incl    %ebp
        call    card
        movl    $up, %esi
        call    print
        sti
idle:   hlt
        jmp     idle

gate:   leal    idt(, %ecx, 8), %edi    # ecx: vector, eax: handler
        movw    %ax, (%edi)
        movw    $8, 2(%edi)
        movw    $0x8E00, 4(%edi)
        shrl    $16, %eax
        movw    %ax, 6(%edi)
        ret

print:  lodsb                           # esi: text that ends with zero
        testb   %al, %al
        jz      4f
        movw    $0x3F8, %dx
        outb    %al, %dx
        jmp     print
4:      ret

card:   movl    %ebp, %ebx              # ebp: number of the card; from here on edi: its memory
        shll    $11, %ebx
        addl    $0x80008000, %ebx       # slot 0x10 and after
        leal    4(%ebx), %eax
        movw    $0xCF8, %dx
        outl    %eax, %dx
        movw    $0xCFC, %dx
        inl     %dx, %eax
        orl     $5, %eax                # I/O and bus master
        outl    %eax, %dx
        leal    0x10(%ebx), %eax
        movw    $0xCF8, %dx
        outl    %eax, %dx
        movw    $0xCFC, %dx
        inl     %dx, %eax
        andl    $0xFFFC, %eax
        movl    %eax, ports(, %ebp, 4)
        movl    %eax, %ebx
        movl    %ebp, %edi
        shll    $16, %edi
        addl    $RINGS, %edi

        leal    0x12(%ebx), %edx        # reset, acknowledge, driver; no features
        xorl    %eax, %eax
        outb    %al, %dx
        movb    $1, %al
        outb    %al, %dx
        movb    $3, %al
        outb    %al, %dx
        leal    4(%ebx), %edx
        xorl    %eax, %eax
        outl    %eax, %dx

        xorl    %ecx, %ecx              # receive: every entry has the same buffer
5:      movl    %ecx, %edx
        shll    $4, %edx
        leal    RX_BUFFER(%edi), %eax
        movl    %eax, (%edi, %edx)
        movl    $2048, 8(%edi, %edx)
        movw    $2, 12(%edi, %edx)
        movw    %cx, AVAIL + 4(%edi, %ecx, 2)
        incl    %ecx
        cmpl    $256, %ecx
        jb      5b
        movw    $256, AVAIL + 2(%edi)
        leal    TX_BUFFER(%edi), %eax   # send: one entry, again and again
        movl    %eax, TX(%edi)
        movl    $FRAME_BYTES, TX + 8(%edi)
        movl    $0xFFFFFFFF, 10(%eax)   # to everybody, from 52:54:00:00:0n:01, local experimental type
        movw    $0xFFFF, 14(%eax)
        movl    $0x00005452, 16(%eax)
        movl    %ebp, %ecx
        movb    %cl, 20(%eax)
        movb    $1, 21(%eax)
        movw    $0xB588, 22(%eax)

        xorl    %ecx, %ecx              # tell the card of both queues
6:      leal    0xE(%ebx), %edx
        movl    %ecx, %eax
        outw    %ax, %dx
        leal    8(%ebx), %edx
        imull   $TX, %ecx, %eax
        addl    %edi, %eax
        shrl    $12, %eax
        outl    %eax, %dx
        incl    %ecx
        cmpl    $2, %ecx
        jb      6b
        leal    0x12(%ebx), %edx
        movb    $7, %al
        outb    %al, %dx
        ret

timer:  pushal
        xorl    %ebp, %ebp
7:      movl    %ebp, %edi
        shll    $16, %edi
        addl    $RINGS, %edi
        movl    ports(, %ebp, 4), %ebx
        addl    $0x10, %ebx
        movl    %ebx, %edx
        movw    USED + 2(%edi), %ax     # take back
        addw    $256, %ax
        movw    %ax, AVAIL + 2(%edi)
        xorl    %eax, %eax
        outw    %ax, %dx
        movw    TX + AVAIL + 2(%edi), %ax
        subw    TX + USED + 2(%edi), %ax
        cmpw    $200, %ax               # a card that sends nothing
        ja      8f
        incw    TX + AVAIL + 2(%edi)    # send
        movl    $1, %eax
        outw    %ax, %dx
8:      incl    %ebp
        cmpl    $2, %ebp
        jb      7b

        movw    $0x3FD, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      9f
        movw    $0x3F8, %dx
        inb     %dx, %al
        movl    $pong, %esi
        cmpb    $'p', %al
        je      10f
        cmpb    $'c', %al
        jne     9f
        movl    $crash, %esi
        jmp     panic
10:     call    print
9:      movb    $0x20, %al
        outb    %al, $0x20
        popal
        iret

nmi:    pushal
        movl    $nmi_text, %esi
        call    print
        popal
        iret

undefined:
        movl    $trap, %esi
panic:  cli
        call    print
11:     hlt
        jmp     11b

up:     .asciz  "guest up\n"
pong:   .asciz  "pong\n"
crash:  .asciz  "Kernel panic - not syncing: the console asked for it\n"
trap:   .asciz  "Panic on CPU 0: vector = 6 (invalid opcode)\n"
nmi_text: .asciz "NMI received\n"
pic:    .byte   0x20, 0x11, 0xA0, 0x11, 0x21, 0x20, 0xA1, 0x28, 0x21, 4, 0xA1, 2, 0x21, 1, 0xA1, 1
        .byte   0x21, 0xFE, 0xA1, 0xFF
        .byte   0x43, 0x34, 0x40, 0x9C, 0x40, 0x2E, 0   # the timer: 1193182 Hz / 11932
        .balign 8
gdt:    .quad   0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF
gdt_pointer: .word 23
        .long   gdt
idt_pointer: .word 64 * 8 - 1
        .long   idt
        .balign 8
ports:  .long   0, 0
idt:    .fill   64, 8, 0
end:
